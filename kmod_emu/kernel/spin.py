"""What guest code that runs long is doing: computing, or waiting in a loop.

Code is followed instruction by instruction for a while. If it comes back to where it was with every
register as it was, it waits for memory to change; if it looked at jiffies, for time to pass. Real time
decides only when this is looked at, not what is found, so two runs agree.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kmod_emu.machine.cpu import StopReason

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.cpu import Stop

_INSTRUCTIONS = 512


class Spin(Enum):
    """What a loop waits for."""

    MEMORY = "memory to change"
    JIFFIES = "jiffies to change"
    CLOCK = "jiffies to change, while it computes"


def examine(kernel: KernelCore, stop: Stop) -> tuple[Spin | None, Stop]:
    """Follow the code that was stopped.

    Returns:
        What it waits for, None if it computes; and where it is now. The stop's reason is COUNT unless
        something happened on the way that has to be acted on.
    """
    cpu, memory = kernel.cpu, kernel.memory
    memory.await_page(kernel.symbols.address("jiffies"))
    before, here, repeats = cpu.registers(), stop, False
    for _ in range(_INSTRUCTIONS):
        here = cpu.run(here.rip, count=1)
        if here.reason is not StopReason.COUNT:
            break
        if here.rip == stop.rip:
            repeats = repeats or cpu.registers() == before
            if repeats or memory.page_arrived:
                break
    looks_at_jiffies = memory.page_arrived
    memory.await_page(0)
    if here.reason not in (StopReason.COUNT, StopReason.PATIENCE):
        return None, here
    here = here._replace(reason=StopReason.COUNT)
    if looks_at_jiffies:
        return Spin.JIFFIES if repeats else Spin.CLOCK, here
    return Spin.MEMORY if repeats else None, here
