"""System calls on signals and alarms (kernel/signal.c, kernel/time/itimer.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel import signal as kernel_signal
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, sleep_in_state
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_KILL
from kmod_emu.user import signals
from kmod_emu.user.arguments import give
from kmod_emu.user.programs import AltStack, Programs, SigAction, ThreadGroup

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_SIGACTION = struct.Struct("<QQQQ")
_STACK = struct.Struct("<Qi4xQ")
_MINSIGSTKSZ = 2048
_ITIMER_REAL = 0
_USEC = 1000


@syscall(13)
async def sys_rt_sigaction(kernel: KernelCore, sig: int, act: int, oact: int, size: int) -> int:
    """Get and set what a signal does."""
    program, number = kernel[Programs].current, as_int(sig)
    if size != 8 or not 1 <= number <= 64 or (act and number in (signals.SIGKILL, signals.SIGSTOP)):
        raise KernelError(errno.EINVAL, f"signal {number} cannot be handled")
    before = program.actions.get(number, SigAction())
    if act:
        handler, flags, restorer, mask = _SIGACTION.unpack(kernel.user.copy_from(act, _SIGACTION.size))
        program.actions[number] = SigAction(handler, flags, restorer, mask & ~signals.UNBLOCKABLE)
        for thread in program.group.threads:
            signals.refresh_ignored(kernel, kernel[Programs].by_pid[thread.pid])
    if oact:
        give(kernel, oact, _SIGACTION.pack(*before))
    return 0


@syscall(14)
async def sys_rt_sigprocmask(kernel: KernelCore, how: int, nset: int, oset: int, size: int) -> int:
    """Get and set which signals wait."""
    if size != 8:
        raise KernelError(errno.EINVAL)
    program = kernel[Programs].current
    before = kernel_signal.blocked(kernel, program.task)
    if nset:
        new = int.from_bytes(kernel.user.copy_from(nset, 8), "little") & ~signals.UNBLOCKABLE
        masks = {0: before | new, 1: before & ~new, 2: new}
        if as_int(how) not in masks:
            raise KernelError(errno.EINVAL)
        signals.set_mask(kernel, program, masks[as_int(how)])
    if oset:
        give(kernel, oset, struct.pack("<Q", before))
    return 0


@syscall(15)
async def sys_rt_sigreturn(kernel: KernelCore) -> int:
    """A handler has returned."""
    return signals.sigreturn(kernel, kernel[Programs].current)


@syscall(127)
async def sys_rt_sigpending(kernel: KernelCore, uset: int, size: int) -> int:
    """Which signals are pending and wait."""
    task = kernel.sched.current
    mask = kernel_signal.pending(kernel, task) & kernel_signal.blocked(kernel, task)
    give(kernel, uset, struct.pack("<Q", mask)[: min(size, 8)])
    return 0


@syscall(130)
async def sys_rt_sigsuspend(kernel: KernelCore, unewset: int, size: int) -> int:
    """Wait for a signal with another mask."""
    if size != 8:
        raise KernelError(errno.EINVAL)
    program = kernel[Programs].current
    new = int.from_bytes(kernel.user.copy_from(unewset, 8), "little") & ~signals.UNBLOCKABLE
    program.saved_mask = kernel_signal.blocked(kernel, program.task)
    signals.set_mask(kernel, program, new)
    return await sys_pause(kernel)


@syscall(34)
async def sys_pause(kernel: KernelCore) -> int:
    """Wait for a signal."""
    while not kernel_signal.signal_pending(kernel, kernel.sched.current):
        await sleep_in_state(kernel, TASK_INTERRUPTIBLE)
    raise KernelError(errno.ERESTARTNOHAND)


@syscall(131)
async def sys_sigaltstack(kernel: KernelCore, uss: int, uoss: int) -> int:
    """Get and set where handlers run."""
    program = kernel[Programs].current
    before, rsp = program.altstack, program.context["rsp"]
    on_it = before.base < rsp <= before.base + before.size
    if uss:
        base, flags, size = _STACK.unpack(kernel.user.copy_from(uss, _STACK.size))
        if on_it:
            raise KernelError(errno.EPERM, "the alternate stack is in use")
        if flags & 3 not in (0, signals.SS_DISABLE, signals.SS_ONSTACK):
            raise KernelError(errno.EINVAL)
        if flags & signals.SS_DISABLE:
            program.altstack = AltStack()
        elif size < _MINSIGSTKSZ:
            raise KernelError(errno.ENOMEM, f"a signal stack has at least {_MINSIGSTKSZ} bytes")
        else:
            program.altstack = AltStack(base, size)
    if uoss:
        flags = signals.SS_DISABLE if not before.size else signals.SS_ONSTACK if on_it else 0
        give(kernel, uoss, _STACK.pack(before.base, flags, before.size))
    return 0


# --- sending ------------------------------------------------------------------------------------------


def _send(kernel: KernelCore, task: Task, signal: int, code: int = signals.SI_USER) -> None:
    """With the sender's rights: EPERM, EINVAL."""
    sender = kernel.sched.current
    if not 0 <= signal <= 64:
        raise KernelError(errno.EINVAL, f"there is no signal {signal}")
    mine, theirs = {sender.uid, sender.who("uid")}, {task.who("uid"), task.who("suid")}
    if not mine & theirs and not sender.capable(CAP_KILL):
        raise KernelError(errno.EPERM, f"uid {sender.uid} may not signal a process of uid {task.uid}")
    if task is kernel.tasks.init and signal:
        return  # init has no handlers here, and is never killed
    signals.send(kernel, task, signal, code, sender.pid)


def target(kernel: KernelCore, group: ThreadGroup, signal: int) -> Task:
    """The thread that a signal for the whole process goes to: one that does not block it."""
    for task in group.threads:
        if not kernel_signal.blocked(kernel, task) >> max(signal - 1, 0) & 1:
            return task
    return group.threads[0] if group.threads else group.leader


@syscall(62)
async def sys_kill(kernel: KernelCore, pid: int, sig: int) -> int:
    """Signal a process, a process group, or all."""
    number, signal, programs = as_int(pid), as_int(sig), kernel[Programs]
    if number > 0:
        group = programs.groups.get(number)
        task = kernel.tasks.by_pid.get(number)
        if task is None:
            raise KernelError(errno.ESRCH, f"there is no process {number}")
        if group is None or group.threads:
            _send(kernel, target(kernel, group, signal) if group else task, signal)
        return 0
    caller = programs.by_pid.get(kernel.sched.current.pid)
    pgid = -number if number < -1 else caller.group.pgid if caller else 0
    chosen = [
        group
        for group in list(programs.groups.values())
        if group.threads
        and (group.pgid == pgid if number != -1 else caller is None or group is not caller.group)
    ]
    if not chosen:
        raise KernelError(errno.ESRCH, f"there is no process group {pgid}")
    for group in chosen:
        _send(kernel, target(kernel, group, signal), signal)
    return 0


@syscall(200)
async def sys_tkill(kernel: KernelCore, pid: int, sig: int) -> int:
    """Signal one thread."""
    task = kernel.tasks.by_pid.get(as_int(pid))
    if as_int(pid) <= 0:
        raise KernelError(errno.EINVAL)
    if task is None:
        raise KernelError(errno.ESRCH, f"there is no thread {as_int(pid)}")
    _send(kernel, task, as_int(sig), signals.SI_TKILL)
    return 0


@syscall(234)
async def sys_tgkill(kernel: KernelCore, tgid: int, pid: int, sig: int) -> int:
    """Signal one thread of a process."""
    program = kernel[Programs].by_pid.get(as_int(pid))
    if as_int(pid) <= 0 or as_int(tgid) <= 0:
        raise KernelError(errno.EINVAL)
    if program is None or program.group.pid != as_int(tgid):
        raise KernelError(errno.ESRCH, f"process {as_int(tgid)} has no thread {as_int(pid)}")
    return await sys_tkill(kernel, pid, sig)


# --- alarms -------------------------------------------------------------------------------------------


def _arm(kernel: KernelCore, group: ThreadGroup, delay_ns: int, interval_ns: int) -> tuple[int, int]:
    """Set the alarm; what was left of the old one, and its interval."""
    now, left, interval = kernel.clock.now_ns, 0, 0
    if group.alarm is not None:
        ticket, due, interval = group.alarm
        kernel.sched.agenda.cancel(ticket)
        left, group.alarm = max(due - now, 1), None
    if delay_ns:
        due = now + delay_ns

        def ring() -> None:
            group.alarm = None
            if group.threads:
                signals.send(
                    kernel, target(kernel, group, signals.SIGALRM), signals.SIGALRM, signals.SI_KERNEL
                )
                if interval_ns:
                    _arm(kernel, group, interval_ns, interval_ns)

        group.alarm = kernel.sched.at(due, ring), due, interval_ns
    return left, interval


@syscall(37)
async def sys_alarm(kernel: KernelCore, seconds: int) -> int:
    """SIGALRM after some seconds."""
    left, _ = _arm(kernel, kernel[Programs].current.group, (seconds & 0xFFFF_FFFF) * NSEC_PER_SEC, 0)
    whole, rest = divmod(left, NSEC_PER_SEC)
    return whole + (rest >= NSEC_PER_SEC // 2 or (left and not whole))


@syscall(38)
async def sys_setitimer(kernel: KernelCore, which: int, value: int, ovalue: int) -> int:
    """SIGALRM after some time, and again and again."""
    if which != _ITIMER_REAL:
        raise KernelError(errno.EINVAL, "timers of processor time are not implemented")
    interval_s, interval_us, value_s, value_us = (0, 0, 0, 0)
    if value:
        interval_s, interval_us, value_s, value_us = struct.unpack("<4q", kernel.user.copy_from(value, 32))
    if not (0 <= interval_us < 1_000_000 and 0 <= value_us < 1_000_000 and interval_s >= 0 and value_s >= 0):
        raise KernelError(errno.EINVAL)
    delay = value_s * NSEC_PER_SEC + value_us * _USEC
    interval = interval_s * NSEC_PER_SEC + interval_us * _USEC
    before = _arm(kernel, kernel[Programs].current.group, delay, interval)
    if ovalue:
        give(kernel, ovalue, _itimer(*before))
    return 0


@syscall(36)
async def sys_getitimer(kernel: KernelCore, which: int, value: int) -> int:
    """What is left of the alarm."""
    if which != _ITIMER_REAL:
        raise KernelError(errno.EINVAL, "timers of processor time are not implemented")
    alarm = kernel[Programs].current.group.alarm
    left = max(alarm[1] - kernel.clock.now_ns, 1) if alarm else 0
    give(kernel, value, _itimer(left, alarm[2] if alarm else 0))
    return 0


def _itimer(left: int, interval: int) -> bytes:
    times = [part for ns in (interval, left) for part in divmod(ns, NSEC_PER_SEC)]
    return struct.pack("<4q", times[0], times[1] // _USEC, times[2], times[3] // _USEC)
