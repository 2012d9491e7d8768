"""Signals as kernel code sees them: pending sets, and the flag that inlined code reads (kernel/signal.c).

What a signal does to a user process when it returns from the kernel belongs to the process (user/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

SIGKILL, SIGSTOP, SIGCHLD = 9, 19, 17
_TIF_SIGPENDING, _TIF_NOTIFY_SIGNAL = 1 << 2, 1 << 17
_SIGNAL = 16  # offset of the set in struct sigpending, behind the list head
_MAX_SIGNAL = 64
_KERNEL_ONLY = ~(1 << SIGKILL - 1 | 1 << SIGSTOP - 1)  # these cannot be blocked


def _pending_address(kernel: KernelCore, task: Task) -> int:
    return task.address + kernel.profile.offset("task_struct", "pending") + _SIGNAL


def pending(kernel: KernelCore, task: Task) -> int:
    """The signals a task has not been told of: bit n - 1 is signal n."""
    return kernel.memory.read_u64(_pending_address(kernel, task))


def blocked(kernel: KernelCore, task: Task) -> int:
    """The signals that wait."""
    return kernel.memory.read_u64(task.address + kernel.profile.offset("task_struct", "blocked"))


def set_blocked(kernel: KernelCore, task: Task, mask: int) -> None:
    """Say which signals wait."""
    place = task.address + kernel.profile.offset("task_struct", "blocked")
    kernel.memory.write_u64(place, mask & _KERNEL_ONLY)
    recalc_sigpending(kernel, task)


def signal_pending(kernel: KernelCore, task: Task) -> bool:
    """The flag in thread_info, which comes first in task_struct."""
    return bool(kernel.memory.read_u64(task.address) & (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL))


def fatal_signal_pending(kernel: KernelCore, task: Task) -> bool:
    """Whether the task is to be killed."""
    return signal_pending(kernel, task) and bool(pending(kernel, task) & 1 << SIGKILL - 1)


def recalc_sigpending(kernel: KernelCore, task: Task) -> None:
    """Make the flag say whether a signal is pending that does not wait."""
    flags = kernel.memory.read_u64(task.address) & ~_TIF_SIGPENDING
    if pending(kernel, task) & ~blocked(kernel, task):
        flags |= _TIF_SIGPENDING
    kernel.memory.write_u64(task.address, flags)


def send_signal(kernel: KernelCore, task: Task, signal: int) -> None:
    """Make a signal pending and wake the task if it sleeps interruptibly, or is killed.

    A kernel thread only gets signals it has allowed.

    Raises:
        KernelError: EINVAL, no such signal; 0 only asks whether one could be sent.
    """
    from kmod_emu.errors import KernelError
    from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, TASK_WAKEKILL, try_to_wake_up

    if not 0 <= signal <= _MAX_SIGNAL:
        raise KernelError(errno.EINVAL, f"there is no signal {signal}")
    if not signal or signal in task.ignored:
        return
    place = _pending_address(kernel, task)
    kernel.memory.write_u64(place, kernel.memory.read_u64(place) | 1 << signal - 1)
    recalc_sigpending(kernel, task)
    if signal_pending(kernel, task):
        state = TASK_INTERRUPTIBLE | (TASK_WAKEKILL if signal == SIGKILL else 0)
        try_to_wake_up(kernel, task.address, state)


def forget(kernel: KernelCore, task: Task, mask: int) -> None:
    """Take signals of a mask back."""
    place = _pending_address(kernel, task)
    kernel.memory.write_u64(place, kernel.memory.read_u64(place) & ~mask)
    recalc_sigpending(kernel, task)


def dequeue(kernel: KernelCore, task: Task) -> int:
    """Take the lowest pending signal that does not wait; 0 if there is none."""
    ready = pending(kernel, task) & ~blocked(kernel, task)
    if ready:
        ready &= -ready
        place = _pending_address(kernel, task)
        kernel.memory.write_u64(place, kernel.memory.read_u64(place) & ~ready)
    recalc_sigpending(kernel, task)
    return ready.bit_length()


@export("int send_sig(int sig, struct task_struct *p, int priv)")
def send_sig(kernel: KernelCore, sig: int, p: int, priv: int) -> int:
    """Send a signal (kernel/signal.c)."""
    send_signal(kernel, kernel.tasks.at(p), sig)
    return 0


@export(
    "int send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *p)", Fidelity.APPROXIMATE
)
def send_sig_info(kernel: KernelCore, sig: int, info: int, p: int) -> int:
    """Send a signal; what else `info` says is not kept (kernel/signal.c)."""
    send_signal(kernel, kernel.tasks.at(p), sig)
    return 0


@export("void force_sig(int sig)", Fidelity.APPROXIMATE)
def force_sig(kernel: KernelCore, sig: int) -> None:
    """Send a signal to the current task that it cannot refuse (kernel/signal.c)."""
    task = kernel.sched.current
    task.ignored.discard(sig)
    set_blocked(kernel, task, blocked(kernel, task) & ~(1 << sig - 1))
    send_signal(kernel, task, sig)


@export("void kernel_sigaction(int sig, __sighandler_t action)")
def kernel_sigaction(kernel: KernelCore, sig: int, action: int) -> None:
    """Let a kernel thread get a signal, or ignore it.

    Allow_signal() and disallow_signal() (kernel/signal.c).
    """
    task = kernel.sched.current
    if action == 1:  # SIG_IGN
        task.ignored.add(sig)
        forget(kernel, task, 1 << sig - 1)
    else:
        task.ignored.discard(sig)


@export("void flush_signals(struct task_struct *t)")
def flush_signals(kernel: KernelCore, t: int) -> None:
    """Forget all pending signals (kernel/signal.c)."""
    task = kernel.tasks.at(t)
    kernel.memory.write_u64(_pending_address(kernel, task), 0)
    recalc_sigpending(kernel, task)


@export(
    "int dequeue_signal(struct task_struct *tsk, sigset_t *mask, struct kernel_siginfo *info,"
    " enum pid_type *type)",
    Fidelity.APPROXIMATE,
)
def dequeue_signal(kernel: KernelCore, tsk: int, mask: int, info: int, type: int) -> int:
    """Take a pending signal; its siginfo only says the number (kernel/signal.c)."""
    signal = dequeue(kernel, kernel.tasks.at(tsk))
    if signal and info:
        kernel.memory.write_u32(info, signal)
    return signal


@export("void recalc_sigpending(void)")
def recalc_sigpending_current(kernel: KernelCore) -> None:
    """Make the current task's flag right (kernel/signal.c)."""
    recalc_sigpending(kernel, kernel.sched.current)
