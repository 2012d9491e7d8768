"""Guest code that runs long: it is looked at now and then, so that others get their turn and time passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.activation import Away
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.preempt import EFLAGS_IF
from kmod_emu.kernel.spin import Spin, examine, may_wait
from kmod_emu.kernel.watchdog import stuck
from kmod_emu.machine.cpu import StopReason

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.sched import Scheduler
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.cpu import Stop

LONG_RUN = (StopReason.PATIENCE, StopReason.COUNT)
_PATIENCE = 0.1  # seconds of processor time after which running code is looked at
_GLANCE = 20_000  # instructions that code which was waiting in a loop is given to find its wait ended
_CHUNK = 10_000_000  # instructions of a run, where they are counted
_ROUND = 32  # instructions that a stretch between two stops counts for, if it is no whole chunk
_ROUNDS = 1024  # after so many, the processor time is looked at
_COMPUTING_PATIENCE = 16  # looks after which code that computes is believed to wait for an event
_SPIN_NS = 22 * NSEC_PER_SEC  # how long code may wait in a loop: the real kernel says then that it is stuck
_NEAR = 1009  # instructions after which code that holds off others is looked at again
_NEAR_LOOKS = 64  # how often, until it has used up its patience again


class Looked(NamedTuple):
    """What came of a look.

    Attributes:
        stop: The stop to act on.
        away: How the code gives up the processor, if it does.
        instructions: How many to run next, 0 for no limit.
        patience: For how many seconds.
    """

    stop: Stop
    away: Away | None
    instructions: int
    patience: float


class Patience:
    """How long guest code runs before it is looked at, and what is made of what is seen then.

    Attributes:
        seconds: Of processor time, after which code that runs is looked at.
    """

    def __init__(self, kernel: KernelCore, sched: Scheduler) -> None:
        self._kernel, self._sched = kernel, sched
        self.seconds = _PATIENCE
        self._near = 0  # looks at code that holds off others, which are left

    def begin(self, task: Task) -> tuple[int, float]:
        """A task's code begins to run or goes on: as the last two of `Looked`."""
        self._near = 0
        return self._allowance(task, _GLANCE if task.spin else 0)

    def _allowance(self, task: Task, glance: int) -> tuple[int, float]:
        limit = self._kernel.usage.instructions
        if limit is None:
            return glance, self.seconds
        return min(glance or _CHUNK, max(limit - task.instructions, 1)), math.inf

    def account(self, task: Task, stop: Stop, count: int) -> None:
        """The task has used the processor; one that has gone to Python too often dies."""
        if stop.reason not in LONG_RUN:
            if self._used_up(task):
                stuck(self._kernel, task, stop)
        elif stop.reason is StopReason.COUNT:
            task.instructions += count

    def _used_up(self, task: Task) -> bool:
        """Whether a task that goes back and forth between Python and guest code has done so for too long.

        Each way is short; together they are looked at now and then.
        """
        task.rounds += 1
        task.instructions += _ROUND
        kernel, limit = self._kernel, self._kernel.cpu.watchdog.limit
        if kernel.clock.now_ns > kernel.usage.end_ns:
            return True
        if kernel.usage.instructions is not None and task.instructions >= kernel.usage.instructions:
            return True
        if task.rounds % _ROUNDS or limit is None:
            return False
        now = kernel.cpu.watchdog.now()
        if task.since is None:
            task.since = now
        return now - task.since > limit

    def look(self, task: Task, stop: Stop, *, others: bool) -> Looked:
        """Guest code has run for long: what it does, and whether others run, or time passes.

        Args:
            task: Whose code.
            stop: Where it was stopped.
            others: Whether other tasks could run.
        """
        if self._near and stop.reason is StopReason.COUNT:
            self._near -= 1
            away = (
                Away.READY if others and not self._sched.event_due() and self._sched.preemptible() else None
            )
        else:
            self._near = _NEAR_LOOKS
            stop, away = self._examine(task, stop, others)
        if not (others or self._sched.event_due()):  # which come as soon as they may
            self._near = 0
        if away is not None:
            stop = stop._replace(reason=StopReason.TRAP)
        return Looked(stop, away, *self._allowance(task, _NEAR if self._near else 0))

    def _examine(self, task: Task, stop: Stop, others: bool) -> tuple[Stop, Away | None]:
        kernel, clock, usage = self._kernel, self._kernel.clock, self._kernel.usage
        limit, most = kernel.cpu.watchdog.limit, usage.instructions
        if (limit is not None and task.busy >= limit) or (most is not None and task.instructions >= most):
            clock.advance(int((limit or 0) * NSEC_PER_SEC))
            return stop._replace(reason=StopReason.LOCKUP), None
        if task.spin_ns is not None and clock.now_ns - task.spin_ns > _SPIN_NS:
            return stop._replace(reason=StopReason.LOCKUP), None
        spin, follow = None, True
        if stop.reason is StopReason.PATIENCE and self._sched.run_guest == kernel.cpu.run:
            follow, stop = may_wait(kernel, stop, self.seconds)
            task.busy += kernel.cpu.watchdog.elapsed
        if follow and stop.reason in LONG_RUN:
            spin, stop = examine(kernel, stop)
        if stop.reason is not StopReason.COUNT:
            return stop, None
        task.spin, task.looks = spin, task.looks + 1
        if spin is None:
            task.spin_ns = None
        elif task.spin_ns is None:
            task.spin_ns = clock.now_ns
        if spin is Spin.CLOCK:
            return stop, None
        if (spin or others) and self._sched.preemptible():
            return stop, Away.SPINNING if spin else Away.READY
        due = self._sched.agenda.next_ns
        waits = spin or task.looks >= _COMPUTING_PATIENCE
        if due is not None and due > clock.now_ns and waits and kernel.cpu.read("eflags") & EFLAGS_IF:
            clock.jump(due)
            task.looks, task.busy = 0, 0.0
        return stop, None
