"""Counting what a machine executes: a limit that ends alike on every computer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kmod_emu.labs.limits import LimitExceeded
from kmod_emu.machine.cpu import Stop, StopReason

if TYPE_CHECKING:
    from kmod_emu.api import Kernel

_CHUNK, _STRETCH = 10_000_000, 100  # instructions


class Counter:
    """Runs guest code in chunks; a stretch that ends before its chunk does counts for some instructions."""

    def __init__(self, kernel: Kernel, most: int) -> None:
        self._kernel, self._most, self._left = kernel, most, most
        self._run = kernel.sched.run_guest

    def __call__(self, rip: int, count: int = 0, patience: float = math.inf) -> Stop:
        """As `Cpu.run`; code without a budget of its own is looked at after each chunk."""
        budget = min(count or _CHUNK, max(self._left, 1))
        stop = self._run(rip, budget, patience if count else math.inf)
        self._left -= budget if stop.reason is StopReason.COUNT else min(budget, _STRETCH)
        if self._left <= 0:
            place = self._kernel.describe(stop.rip)
            raise LimitExceeded(f"more than {self._most} instructions were executed, the last at {place}")
        if stop.reason is StopReason.COUNT and not count:
            return stop._replace(reason=StopReason.PATIENCE)
        return stop
