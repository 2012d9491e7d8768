"""System calls with arguments that make no sense, from a process that has some files open."""

import os
import struct

from kmod_emu import Kernel, KernelError, samples

EXPECTED = (KernelError,)
_CALL = struct.Struct("<HBBBBBB")
_NUMBERS = 450


def seeds():
    return [_CALL.pack(number, 3, 20, 21, 8, 9, 5) for number in range(0, _NUMBERS, 3)]


def start():
    kernel = Kernel()
    kernel.cpu.watchdog.limit = 1.0
    kernel.insmod(samples.path("echo"))
    clean = kernel.snapshot()

    def run(data):
        kernel.restore(clean)
        with kernel.process(uid=len(data) % 2 * 1000, comm="fuzz") as process:
            place = process.put(b"/dev/zero\0" + bytes(range(246)) + data.ljust(256, b"\0"))
            wild = [0, 1, 2, -1, place, place + 10, place + 256, place + 4095, 1 << 47, 1 << 63,
                    (1 << 64) - 4096, 1 << 32, (1 << 31) - 1, 4096, 0xFFFFFFFF81000000]  # fmt: skip
            process.open("/dev/zero", os.O_RDWR)
            process.pipe()
            for number, *words in _CALL.iter_unpack(data[: len(data) // _CALL.size * _CALL.size]):
                arguments = [wild[word % len(wild)] & (1 << 64) - 1 if word & 128 else word for word in words]
                process.syscall(number % _NUMBERS, *arguments)

    return run
