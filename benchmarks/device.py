"""System calls through a module's read(), and bytes that it copies, against /dev/zero that Python serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel, samples
from kmod_emu.user.files import makedev

if TYPE_CHECKING:
    from kmod_emu.user.process import Process

_CALLS = 5_000
_SIZE = 256


def opened() -> tuple[Process, int, int]:
    """A process with the sample `echo`, full, and with /dev/zero."""
    kernel = Kernel()
    kernel.insmod(samples.path("echo"))
    process = kernel.process()
    process.mknod("/dev/echo", 0o020600, makedev(246, 0))
    fd = process.open("/dev/echo", os.O_RDWR)
    process.write(fd, bytes(_SIZE))
    return process, fd, process.open("/dev/zero")


def measure(effort: Effort) -> list[Row]:
    """Thousands of calls and megabytes a second; the module's first byte is read each time."""
    calls = max(int(_CALLS * effort.scale), 1)
    process, fd, zero = opened()

    def read(fd: int, count: int) -> None:
        for _ in range(calls):
            process.pread(fd, count, 0)

    small, reference = best(
        effort, lambda: seconds(lambda: read(fd, 1)), lambda: seconds(lambda: read(zero, 1))
    )
    large, most = best(
        effort, lambda: seconds(lambda: read(fd, _SIZE)), lambda: seconds(lambda: read(zero, _SIZE))
    )
    return [
        Row("pread(2) of a module's device", "k/s", calls / small / 1e3, calls / reference / 1e3, 0.25),
        Row("the same, 256 bytes each", "MB/s", calls * _SIZE / large / 1e6, calls * _SIZE / most / 1e6, 0.2),
    ]
