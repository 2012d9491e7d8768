"""`jiffies` as modules see it: a clock, and looking at a clock takes time.

Its page is device memory, so that each look is noticed. The first ones cost next to nothing; code that goes
on looking, whether it computes in between or not, is given bigger and bigger steps, up to 1/8 of a tick. So
a loop that measures how much it can compute in some ticks ends, after the same number of rounds each time.
The base kernel itself reads `jiffies_64`, the same number in ordinary memory; on a distribution's kernel the
page is one that only modules know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export_data
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_PADDR = (1 << 40) - PAGE_SIZE  # the last physical page: no device of a real machine is there


class Jiffies:
    """The device behind the page."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._value = 0
        self._address = kernel.symbols.address("jiffies")
        kernel.cpu.mmio.attach(_PADDR, PAGE_SIZE, self)
        kernel.io_mappings.show(self._address >> PAGE_SHIFT, _PADDR)

    def read(self, offset: int, size: int) -> int:
        """A look; both halves of the number are of one moment."""
        clock = self._kernel.clock
        if not offset:
            before = self._value
            self._value = clock.look_at_jiffies()
            if self._value != before:
                self._kernel.sched.tick_seen()
        return self._value >> 8 * offset

    def write(self, offset: int, size: int, value: int) -> None:
        """Nobody counts ticks but the kernel."""


@export_data("unsigned long volatile jiffies", PAGE_SIZE)
def jiffies(kernel: KernelCore, address: int) -> None:
    """The tick counter (kernel/time/timer.c)."""
    kernel.memory.write_u64(address, kernel.clock.jiffies)


@export_data("u64 jiffies_64")
def jiffies_64(kernel: KernelCore, address: int) -> None:
    """The tick counter by its other name (kernel/time/timer.c)."""
    kernel.memory.write_u64(address, kernel.clock.jiffies)
