"""What guest code that runs long is doing: computing, or waiting in a loop.

Code is followed instruction by instruction for a while. If it comes back to where it was with every
register as it was, it waits for memory to change; unless it looked at jiffies, which change by that. Real
time decides only when this is looked at, not what is found, so two runs agree.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kmod_emu.machine.cpu import StopReason

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.cpu import Stop

_INSTRUCTIONS = 512
_VISITS = 8  # after which code that comes to a place with other registers each time computes


class Spin(Enum):
    """What a loop waits for."""

    MEMORY = "memory to change"
    CLOCK = "jiffies to change, which they do when they are looked at"


class Following:
    """Code that is followed, instruction by instruction.

    Attributes:
        repeats: It came back to where it was with every register as it was.
        looks_at_jiffies: It touched their page.
    """

    def __init__(self, kernel: KernelCore, rip: int) -> None:
        self._kernel, self._start, self._left = kernel, rip, _INSTRUCTIONS
        self._before = kernel.cpu.registers()
        self.repeats = self.looks_at_jiffies = False
        kernel.memory.await_page(kernel.symbols.address("jiffies"))

    def step(self, rip: int) -> bool:
        """One more instruction was run; whether enough is known now."""
        self._left -= 1
        if rip == self._start:
            self.repeats = self.repeats or self._kernel.cpu.registers() == self._before
            if self.repeats or self._kernel.memory.page_arrived:
                self.end()
                return True
        if not self._left:
            self.end()
        return not self._left

    def end(self) -> None:
        """No more of it is looked at."""
        self.looks_at_jiffies = self._kernel.memory.page_arrived
        self._kernel.memory.await_page(0)


def may_wait(kernel: KernelCore, stop: Stop, patience: float) -> tuple[bool, Stop]:
    """Let the code that was stopped go on as fast as ever: whether it is worth to follow it.

    To follow code costs the processor all its translations. What computes comes to the same place with other
    registers, or does not come there again.

    Returns:
        The former, and where it is now, as from `examine`.
    """
    cpu, memory = kernel.cpu, kernel.memory
    before, visits, alike = cpu.registers(), 0, False

    def reached() -> None:
        nonlocal visits, alike
        alike = alike or (visits > 0 and cpu.registers() == before)
        visits += 1
        if alike or visits > _VISITS:
            cpu.stop_at_trap()

    memory.await_page(kernel.symbols.address("jiffies"))
    end = cpu.before(stop.rip, reached)
    try:
        here = cpu.run(stop.rip, patience=patience)
    finally:
        end()
    seen = alike or memory.page_arrived
    memory.await_page(0)
    if alike or visits > _VISITS or here.reason is StopReason.PATIENCE:
        here = here._replace(reason=StopReason.COUNT)
    return seen, here


def examine(kernel: KernelCore, stop: Stop) -> tuple[Spin | None, Stop]:
    """Follow the code that was stopped.

    Returns:
        What it waits for, None if it computes; and where it is now. The stop's reason is COUNT unless
        something happened on the way that has to be acted on.
    """
    following, here = Following(kernel, stop.rip), stop
    while True:
        here = kernel.sched.run_guest(here.rip, 1)
        if here.reason is not StopReason.COUNT:
            following.end()
            break
        if following.step(here.rip):
            break
    if here.reason not in (StopReason.COUNT, StopReason.PATIENCE):
        return None, here
    here = here._replace(reason=StopReason.COUNT)
    if following.looks_at_jiffies:
        return Spin.CLOCK, here
    return Spin.MEMORY if following.repeats else None, here
