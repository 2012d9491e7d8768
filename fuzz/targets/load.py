"""Loading a small module with some of its numbers changed, all the way through init."""

import struct

from kmod_emu import Kernel, KernelError, Killed
from tests.conftest import RECORDINGS
from tests.module.mutate import EDGES, Fields, patched

EXPECTED = (KernelError,)
_IMAGES = [
    (RECORDINGS / "errno-cases" / f"h_{name}.ko").read_bytes()
    for name in ("hello", "params", "exp", "ret", "weak", "misc")
]
_CHANGE = struct.Struct("<BHBQ")
_HOW = ("set", "add", "sub", "flip")


def seeds():
    return [bytes([image, *_CHANGE.pack(group, 3, 0, 1)]) for image in range(6) for group in range(6)]


def start():
    kernel = Kernel()
    kernel.cpu.watchdog.limit = 1.0
    clean = kernel.snapshot()
    fields = [Fields(image) for image in _IMAGES]

    def run(data):
        which = data[0] % len(_IMAGES) if data else 0
        image = _IMAGES[which]
        end = 1 + (len(data) - 1) // _CHANGE.size * _CHANGE.size
        for group, place, how, value in _CHANGE.iter_unpack(data[1:end]):
            value = EDGES[value % len(EDGES)] if how & 4 else value
            image = patched(image, fields[which].pick(group, place), value, _HOW[how & 3])
        kernel.restore(clean)
        before = kernel.held()
        try:
            kernel.insmod(image)
        except Killed:
            return
        except KernelError as error:
            if error.errno != 35:  # it sleeps, and holds on to what it has
                assert kernel.held() == before, "a refused module left something behind"

    return run
