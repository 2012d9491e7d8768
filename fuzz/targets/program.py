"""What execve() reads: ELF programs and scripts."""

import struct
from contextlib import suppress

from kmod_emu import KernelError
from kmod_emu.user.elf import parse, script_interpreter

EXPECTED = (KernelError,)


def seeds():
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0x401000, 64, 0, 0, 64, 56, 2, 64, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0, 0x100, 0x2000, 0x1000)
    interpreter = struct.pack("<IIQQQQQQ", 3, 4, 176, 0, 0, 8, 8, 1)
    return [header + load + interpreter + b"/ld.so\0\0", b"#! /bin/sh -e\necho"]


def start():
    def run(data):
        with suppress(KernelError):
            script_interpreter(data)
        assert parse(data).span

    return run
