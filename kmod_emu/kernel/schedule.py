"""Giving up the processor and waking up, as guest code does it (kernel/sched/core.c).

The state of a task is its `__state` in guest memory, which inlined code sets before it calls `schedule`.
The waiting itself (queues, completions, msleep) is guest code: guest_kernel_stubs/wait.c and its
neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import report
from kmod_emu.kernel.activation import Away, Block
from kmod_emu.kernel.clock import LOOK_NS, MAX_LOOK_NS, NSEC_PER_SEC
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.preempt import EFLAGS_IF, in_interrupt, preempt_count, preempt_count_reset
from kmod_emu.kernel.signal import fatal_signal_pending, signal_pending
from kmod_emu.kernel.taint import Taint

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_STOPPED, TASK_WAKEKILL = 0, 1, 2, 4, 0x100
TASK_NORMAL = TASK_INTERRUPTIBLE | TASK_UNINTERRUPTIBLE
SWITCH_NS = 1_000


def task_state(kernel: KernelCore, task: Task) -> int:
    """What a task waits for, in the kernel's bits."""
    return kernel.memory.read_u32(task.address + kernel.tasks.state_offset)


def set_task_state(kernel: KernelCore, task: Task, state: int) -> None:
    """Set it."""
    kernel.memory.write_u32(task.address + kernel.tasks.state_offset, state)


def signal_pending_state(kernel: KernelCore, state: int, task: Task) -> bool:
    """Whether a signal keeps the task from sleeping in `state` (include/linux/sched/signal.h)."""
    if state & TASK_INTERRUPTIBLE:
        return signal_pending(kernel, task)
    return bool(state & TASK_WAKEKILL) and fatal_signal_pending(kernel, task)


def schedule_debug(kernel: KernelCore, task: Task) -> None:
    """Sleeping where it is forbidden is reported; the count is then set right (kernel/sched/core.c)."""
    count = preempt_count(kernel)
    if not count:
        return
    # the kernel counts itself in here, with preemption off
    head = f"BUG: scheduling while atomic: {task.comm}/{task.pid}/0x{count + 1 & 0x7FFF_FFFF:08x}"
    kernel.printk.say([(3, head), (4, f"Modules linked in:{kernel.modules_text()}")])
    kernel.printk.say(report.stack_lines(kernel, task))
    kernel.taint.add(Taint.WARN)
    line = kernel.findings.caller_of(task) or kernel.findings.line_of(
        kernel.sched.called
    )  # it may end in a jump
    sentence = f"{task.comm} sleeps{f' at {line}' if line else ''} {_why_atomic(count)}"
    kernel.findings.note("scheduling while atomic", sentence + kernel.lockdep.spinning(task))
    if not in_interrupt(kernel):
        preempt_count_reset(kernel)


def _why_atomic(count: int) -> str:
    if count & 0xF_0000:
        return "in an interrupt: a handler, or the callback of a high-resolution timer, must not wait"
    if count & 0x100:
        return "in a softirq: the callback of a timer or tasklet must not wait"
    if count & 0xFF00:
        return "while softirqs are off (between spin_lock_bh and spin_unlock_bh)"
    return "while preemption is off: it holds a spinlock, or called preempt_disable()"


@export("void schedule(void)")
def schedule(kernel: KernelCore) -> None:
    """Let others run; sleep if the task's state says so and no signal forbids it (kernel/sched/core.c)."""
    sched, task = kernel.sched, kernel.sched.current
    schedule_debug(kernel, task)
    if in_interrupt(kernel):
        _sleep_in_interrupt(kernel, task)
        return
    kernel.rcu.note_context_switch(task)
    state, flags = task_state(kernel, task), kernel.cpu.read("eflags")
    if not flags & EFLAGS_IF:
        if state:
            kernel.lockdep.sleeps_with_irqs_off(task)
        kernel.cpu.write("eflags", flags | EFLAGS_IF)
    if state and not signal_pending_state(kernel, state, task):
        kernel.clock.advance(SWITCH_NS)
        sched.leave(Away.ASLEEP)
        return
    set_task_state(kernel, task, TASK_RUNNING)
    sched.offer(SWITCH_NS, NSEC_PER_SEC // kernel.profile.hz)


def _sleep_in_interrupt(kernel: KernelCore, task: Task) -> None:
    """Nothing can run meanwhile: all that can happen is that time passes."""
    due = kernel.sched.agenda.next_ns
    if due is None:
        kernel.panics.panic("Attempted to kill the idle task!")
    set_task_state(kernel, task, TASK_RUNNING)
    kernel.clock.jump(due)


@export("void yield(void)")
def sys_yield(kernel: KernelCore) -> None:
    """Let other tasks run first (kernel/sched/core.c)."""
    set_task_state(kernel, kernel.sched.current, TASK_RUNNING)
    schedule(kernel)


@export("int __cond_resched(void)")
def __cond_resched(kernel: KernelCore) -> int:
    """Let other tasks run, if there are any and it is allowed here (kernel/sched/core.c)."""
    return int(not preempt_count(kernel) and kernel.sched.offer(LOOK_NS, MAX_LOOK_NS))


@export("void preempt_schedule(void)")
def preempt_schedule(kernel: KernelCore) -> None:
    """A preemption point: other tasks run if there are any (kernel/sched/core.c)."""
    __cond_resched(kernel)


@export("void preempt_schedule_notrace(void)")
def preempt_schedule_notrace(kernel: KernelCore) -> None:
    """As preempt_schedule, for code that tracing uses."""
    __cond_resched(kernel)


@export("int try_to_wake_up(struct task_struct *p, unsigned int state)")
def try_to_wake_up(kernel: KernelCore, p: int, state: int) -> int:
    """Wake a task if it is in one of the states; 1 if it was (kernel/sched/core.c)."""
    if p in kernel.tasks.gone:
        return 0
    task = kernel.tasks.at(p)
    if not task_state(kernel, task) & state:
        return 0
    set_task_state(kernel, task, TASK_RUNNING)
    if task.asleep:
        kernel.sched.enqueue(task)
    else:
        kernel.sched.wake(task)
    return 1


@export("int wake_up_process(struct task_struct *p)")
def wake_up_process(kernel: KernelCore, p: int) -> int:
    """Wake a task that sleeps for an event (kernel/sched/core.c)."""
    return try_to_wake_up(kernel, p, TASK_NORMAL)


@export("int wake_up_state(struct task_struct *p, unsigned int state)")
def wake_up_state(kernel: KernelCore, p: int, state: int) -> int:
    """Wake a task in one of the states (kernel/sched/core.c)."""
    return try_to_wake_up(kernel, p, state)


async def sleep_in_state(kernel: KernelCore, state: int, timeout_ns: int | None = None) -> bool:
    """From a coroutine: sleep until try_to_wake_up, a signal that `state` allows, or the timeout.

    Returns:
        False if the time was over; a signal is for the caller to look for.
    """
    task = kernel.sched.current
    schedule_debug(kernel, task)
    if signal_pending_state(kernel, state, task):
        return True
    set_task_state(kernel, task, state)
    ticket = None
    if timeout_ns is not None:
        ticket = kernel.sched.agenda.post(kernel.clock.now_ns + timeout_ns, "wake", task.address)
    await Block()
    set_task_state(kernel, task, TASK_RUNNING)
    return ticket is None or kernel.sched.agenda.cancel(ticket)


@export("void set_user_nice(struct task_struct *p, long nice)")
def set_user_nice(kernel: KernelCore, p: int, nice: int) -> None:
    """Set a task's nice value.

    It is kept, tasks run in order of arrival all the same (kernel/sched/core.c).
    """
    if -20 <= nice <= 19:
        view = kernel.view("task_struct", p)
        view.static_prio = view.prio = 120 + nice


def _define_scheduling_classes() -> None:
    """Priorities are recorded nowhere: tasks run in order of arrival."""
    for name in ("sched_set_fifo", "sched_set_fifo_low"):

        @export(f"void {name}(struct task_struct *p)", Fidelity.APPROXIMATE)
        def sched_set_fifo(kernel: KernelCore, p: int) -> None:
            """Make a task a real-time one (kernel/sched/core.c)."""

    @export("void sched_set_normal(struct task_struct *p, int nice)", Fidelity.APPROXIMATE)
    def sched_set_normal(kernel: KernelCore, p: int, nice: int) -> None:
        """Make a task an ordinary one (kernel/sched/core.c)."""
        set_user_nice(kernel, p, nice)


_define_scheduling_classes()
