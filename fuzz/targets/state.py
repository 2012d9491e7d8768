"""Saved machines: the file as such, and one whose checksum is right and whose tables are not."""

import json
import tempfile
from pathlib import Path

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.kernel import statefile

EXPECTED = (KernelError,)


def seeds():
    return [b"\0" + _saved("hello")[1], b"\1" + b"KMODEMU\0" + bytes(24), b"\2" + bytes(40), b"\0{}"]


def _saved(name):
    kernel = Kernel()
    kernel.insmod(samples.path(name))
    with tempfile.TemporaryDirectory() as folder:
        kernel.save(f"{folder}/machine")
        file = statefile.StateFile(f"{folder}/machine")
        return file.notes, json.dumps(file.tables, separators=(",", ":")).encode(), file.pages


def start():
    notes, tables, pages = _saved("hello")
    path = Path(tempfile.mkdtemp(prefix="kmod-emu-fuzz-")) / "machine"

    def run(data):
        kind, data = data[:1], data[1:]
        if kind == b"\1":
            path.write_bytes(data)
        elif kind == b"\2":
            statefile.write(path, notes, json.loads(tables), data)
        else:
            try:
                changed = json.loads(data)
            except (ValueError, RecursionError):
                return
            statefile.write(path, notes, changed, pages)
        Kernel.load(path)

    return run
