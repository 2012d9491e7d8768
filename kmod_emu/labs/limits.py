"""Limits on what a module may use on its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.clock import BOOT_NS, NSEC_PER_SEC

if TYPE_CHECKING:
    from kmod_emu.api import Kernel
    from kmod_emu.kernel.events import Event

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class LimitExceeded(Exception):
    """Something used more than it may; the machine is of no use any more."""


def size(text: str | int) -> int:
    """Bytes as people write them.

    >>> size("64M"), size(4096)
    (67108864, 4096)

    Raises:
        ValueError: It is no size.
    """
    text = str(text).strip().upper().removesuffix("B")
    number, unit = (text[:-1], text[-1:]) if text[-1:] in ("K", "M", "G") else (text, "")
    if not number.isdigit():
        raise ValueError(f"{text!r} is no size, such as 64M")
    return int(number) * _UNITS[unit]


class Limits(NamedTuple):
    """What a machine may use; None is no limit beyond what every machine has.

    Attributes:
        instructions: That the kernel and its modules may execute; counted in chunks, alike on every computer.
        time: Processor seconds that a call into the kernel may take: then the module never returns.
        memory: Bytes of pages that are free at the beginning.
        virtual: Seconds that may pass on the machine.
        dmesg: Bytes in the kernel log.
    """

    instructions: int | None = None
    time: float | None = None
    memory: int | None = None
    virtual: float | None = None
    dmesg: int | None = None

    def impose(self, kernel: Kernel) -> None:
        """Have a machine obey; what goes beyond `instructions`, `virtual`, `dmesg` raises LimitExceeded."""
        if self.instructions is not None:
            from kmod_emu.labs.counter import Counter

            kernel.sched.run_guest = Counter(kernel, self.instructions)
        if self.time is not None:
            kernel.cpu.watchdog.limit = self.time
        if self.memory is not None:
            kernel.pages.withhold(self.memory)
        if self.dmesg is not None or self.virtual is not None:
            kernel.events.listen(_Meter(kernel, self))

    def check_clock(self, kernel: Kernel) -> None:
        """Raises LimitExceeded if too much time has passed on the machine."""
        if self.virtual is not None and kernel.clock.now_ns > BOOT_NS + self.virtual * NSEC_PER_SEC:
            raise LimitExceeded(f"more than {self.virtual:g} seconds passed on the machine")


class _Meter:
    """Counts what is printed."""

    def __init__(self, kernel: Kernel, limits: Limits) -> None:
        self._kernel, self._limits = kernel, limits
        self._bytes = 0

    def __call__(self, event: Event) -> None:
        """Look at each event: it costs only where something happens."""
        self._limits.check_clock(self._kernel)
        if event.name != "printk":
            return
        self._bytes += len(event.detail["text"])
        if self._limits.dmesg is not None and self._bytes > self._limits.dmesg:
            raise LimitExceeded(f"more than {self._limits.dmesg} bytes in the kernel log")
