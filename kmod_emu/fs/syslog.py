"""/var/log/syslog as rsyslog writes it: the kernel's messages, and those that tools send with -s."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC
from kmod_emu.kernel.logbuffer import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.logbuffer import LogBuffer


def syslog(buffer: LogBuffer, messages: Iterable[tuple[int, str, str]], host: str) -> str:
    """The file: date, host, sender, text; by time.

    Args:
        buffer: The kernel log.
        messages: Time, tag and text of what programs sent.
        host: The machine's name.
    """
    lines = [
        (record.time_ns, "kernel", f"{stamp(record)} {line}")
        for record in buffer.finished()
        for line in record.lines()
    ]
    lines = sorted([*lines, *messages], key=lambda line: line[0])
    return "".join(f"{_date(time_ns)} {host} {tag}: {text}\n" for time_ns, tag, text in lines)


def _date(time_ns: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.gmtime((EPOCH_AT_BOOT_NS + time_ns) // NSEC_PER_SEC))


class Syslog:
    """What a system logger of this machine would have written; its clock runs in UTC."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._messages: list[tuple[int, str, str]] = []  # time, tag, text

    def log(self, tag: str, text: str) -> None:
        """A program sends a message, as by syslog(3)."""
        self._messages += [(self._kernel.clock.now_ns, tag, line) for line in text.splitlines()]

    def text(self) -> str:
        """The file."""
        return syslog(self._kernel.printk, self._messages, self._kernel.sysctl["hostname"])

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._messages)

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._messages = [(when, tag, text) for when, tag, text in state]
