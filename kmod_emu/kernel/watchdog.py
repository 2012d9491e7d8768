"""Code that keeps the processor for itself (kernel/watchdog.c): it is ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from kmod_emu.kernel import report
from kmod_emu.kernel.panic import SIGKILL, die
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.cpu import Stop, StopReason
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_LOOP_SEARCH = 512  # instructions to look at for the loop that code is caught in
_SPIN_SECONDS = 22  # when the real kernel notices


def _say(kernel: KernelCore, task: Task, seconds: int) -> None:
    head = f"watchdog: BUG: soft lockup - CPU#0 stuck for {seconds}s! [{task.comm}:{task.pid}]"
    kernel.printk.say([(0, head)])


def soft_lockup(kernel: KernelCore, task: Task, stop: Stop) -> NoReturn:
    """Code that never returned had its processor time, and was stopped somewhere.

    Raises:
        Killed: Always.
    """
    stuck(kernel, task, _loop_head(kernel, stop))


def stuck(kernel: KernelCore, task: Task, stop: Stop) -> NoReturn:
    """Code uses more than it may: Linux only complains for ever, here the task is ended.

    Raises:
        Killed: Always.
    """
    kernel.events.emit("lockup")
    limit = kernel.cpu.watchdog.limit or 0
    _say(kernel, task, max(int(limit), 1))
    kernel.printk.say(report.state_lines(kernel, task, stop, first_modules=True))
    kernel.taint.add(Taint.SOFTLOCKUP)
    rip = stop.rip
    if kernel.traps.holds(rip):  # in the middle of a call of the kernel's
        with suppress(PageFault):
            rip = kernel.memory.read_u64(kernel.traps.stack_pointer)
    sentence = f"code that never returned {kernel.usage.story(task)}, at {kernel.describe(rip)}"
    die(kernel, task, SIGKILL, "soft lockup", sentence)


def _loop_head(kernel: KernelCore, stop: Stop) -> Stop:
    """Go on to the lowest instruction of a short loop: where the watchdog hit is chance, this is not."""
    rip, seen = stop.rip, []
    for _ in range(_LOOP_SEARCH):
        seen.append(rip)
        step = kernel.cpu.run(rip, count=1)
        if step.reason is not StopReason.COUNT:
            return stop
        rip = step.rip
        if rip == stop.rip:
            break
    else:
        return stop
    while rip != min(seen):
        rip = kernel.cpu.run(rip, count=1).rip
    return stop._replace(rip=rip)


def deadlock(kernel: KernelCore, lock: int, since: str = "") -> NoReturn:
    """A spinlock is taken and its holder can never run: the code would spin for ever.

    Args:
        kernel: The machine.
        lock: Which.
        since: Who holds it since when, if that is known.

    Raises:
        Killed: Always.
    """
    task = kernel.sched.current
    _say(kernel, task, _SPIN_SECONDS)
    kernel.taint.add(Taint.SOFTLOCKUP)
    sentence = f"the spinlock at {kernel.describe(lock)} is taken and nobody can release it"
    die(kernel, task, SIGKILL, "soft lockup", f"{sentence}: {since}" if since else sentence)
