"""How programs end, and who is told (kernel/exit.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.open import exit_files
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, sleep_in_state, try_to_wake_up
from kmod_emu.kernel.signal import signal_pending
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.machine.memory import PageFault
from kmod_emu.uapi import errno
from kmod_emu.user.mmap import close_mappings
from kmod_emu.user.programs import SIG_IGN, Exited, Programs, SigAction
from kmod_emu.user.signals import CLD_CONTINUED, CLD_STOPPED, SA_NOCLDWAIT, SIGCHLD, SIGCONT, SIGKILL, send

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.user.programs import Program, ThreadGroup

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x0100_0000
_WALL, _WCLONE, _WNOTHREAD = 0x4000_0000, 0x8000_0000, 0x2000_0000
_P_ALL, _P_PID, _P_PGID = 0, 1, 2
CLD_EXITED, CLD_KILLED = 1, 2
_RUSAGE = bytes(144)


@syscall(60)
async def sys_exit(kernel: KernelCore, code: int) -> int:
    """End this thread."""
    raise Exited((code & 0xFF) << 8)


@syscall(231)
async def sys_exit_group(kernel: KernelCore, code: int) -> int:
    """End all threads of the process."""
    end_group(kernel, kernel[Programs].current.group, (code & 0xFF) << 8)
    raise Exited((code & 0xFF) << 8)


def end_group(kernel: KernelCore, group: ThreadGroup, status: int) -> None:
    """All threads are to end."""
    if group.killed_by is None:
        group.killed_by = status
    for task in group.threads:
        if task is not kernel.sched.current:
            send(kernel, task, SIGKILL)


async def do_exit(kernel: KernelCore, program: Program, status: int) -> int:
    """The program's last steps in the kernel; returns the status."""
    task, group, programs = program.task, program.group, kernel[Programs]
    if status & 0x7F and group.killed_by is None:
        end_group(kernel, group, status)
    if program.clear_tid and task.mm is not None and task.mm.users > 1:
        from kmod_emu.user.futex import Futexes

        try:
            task.mm.write(program.clear_tid, bytes(4))
        except PageFault:
            pass
        else:
            kernel[Futexes].wake(task.mm, program.clear_tid, 1)
    release_vfork(kernel, group)
    if task.mm is not None and task.mm.users == 1:
        await close_mappings(kernel, task.mm)
    await exit_files(kernel, task)
    group.threads.remove(task)
    if group.threads:
        forget(kernel, program)
        return status
    group.status = group.killed_by if group.killed_by is not None else status
    if group.alarm is not None:
        kernel.sched.agenda.cancel(group.alarm[0])
    kernel.tasks.leave_memory(task)
    kernel.cpu.flush_tlb()
    for child in group.children:
        child.parent = None
        if child.status is not None:
            _reap(kernel, child)
    group.children.clear()
    if task is not group.leader:
        forget(kernel, program)
    _notify_parent(kernel, programs, group)
    return group.status


def release_vfork(kernel: KernelCore, group: ThreadGroup) -> None:
    """A parent that waits in vfork(2) goes on."""
    if group.parked is not None:
        parked, group.parked = group.parked, None
        kernel.sched.wake(parked)


def _notify_parent(kernel: KernelCore, programs: Programs, group: ThreadGroup) -> None:
    """Become a zombie until the parent asks, or vanish at once if it never will."""
    parent = group.parent
    if parent is None or parent.status is not None or not parent.threads:
        _reap(kernel, group)
        return
    action = programs.by_pid[parent.threads[0].pid].actions.get(SIGCHLD, SigAction())
    if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
        _reap(kernel, group)
    if group.exit_signal:
        send(
            kernel,
            parent.threads[0],
            group.exit_signal,
            CLD_KILLED if group.status_signal else CLD_EXITED,
            group.pid,
        )
    for task in parent.waiting:
        try_to_wake_up(kernel, task.address, TASK_INTERRUPTIBLE)


def forget(kernel: KernelCore, program: Program) -> None:
    """A thread other than the last is gone without a trace, as soon as it has stopped running."""
    kernel[Programs].by_pid.pop(program.task.pid, None)
    kernel.tasks.bury(program.task)


def _reap(kernel: KernelCore, group: ThreadGroup) -> None:
    """release_task: the pid is free."""
    programs = kernel[Programs]
    programs.groups.pop(group.pid, None)
    programs.by_pid.pop(group.pid, None)
    if group.parent is not None and group in group.parent.children:
        group.parent.children.remove(group)
    kernel.tasks.bury(group.leader)


# --- waiting ----------------------------------------------------------------------------------------


def _eligible(caller: ThreadGroup, which: int, pid: int) -> list[ThreadGroup]:
    return [
        child
        for child in caller.children
        if which == _P_ALL
        or (which == _P_PID and child.pid == pid)
        or (which == _P_PGID and child.pgid == pid)
    ]


def _news(child: ThreadGroup, options: int) -> int | None:
    """What wait(2) says of a child: that it ended, stopped, goes on; None if nothing of what is asked."""
    if child.status is not None:
        return child.status if options & WEXITED else None
    wanted = WCONTINUED if child.news == 0xFFFF else WUNTRACED
    if not child.news or not options & wanted:
        return None
    news = child.news
    if not options & WNOWAIT:
        child.news = 0
    return news


async def do_wait(kernel: KernelCore, which: int, pid: int, options: int) -> tuple[ThreadGroup, int] | None:
    """The first child with news, and the news; None with WNOHANG if there is none yet.

    Raises:
        KernelError: ECHILD; ERESTARTSYS if a signal came.
    """
    program = kernel[Programs].current
    caller = program.group
    while True:
        children = _eligible(caller, which, pid)
        if not children:
            raise KernelError(errno.ECHILD, "the process has no such child")
        for child in children:
            news = _news(child, options)
            if news is not None:
                return child, news
        if options & WNOHANG:
            return None
        if signal_pending(kernel, program.task):
            raise KernelError(errno.ERESTARTSYS)
        caller.waiting.append(program.task)
        try:
            await sleep_in_state(kernel, TASK_INTERRUPTIBLE)
        finally:
            caller.waiting.remove(program.task)


@syscall(61)
async def sys_wait4(kernel: KernelCore, upid: int, stat_addr: int, options: int, ru: int) -> int:
    """Wait for a child."""
    options &= 0xFFFF_FFFF
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | _WNOTHREAD | _WCLONE | _WALL):
        raise KernelError(errno.EINVAL, f"wait4 has no options {options:#x}")
    pid = struct.unpack("<i", struct.pack("<I", upid & 0xFFFF_FFFF))[0]
    caller = kernel[Programs].current.group
    which, number = (
        (_P_ALL, 0) if pid == -1 else (_P_PGID, -pid) if pid < 0 else (_P_PGID, caller.pgid) if pid == 0
        else (_P_PID, pid)
    )  # fmt: skip
    found = await do_wait(kernel, which, number, options | WEXITED)
    if found is None:
        return 0
    child, status = found
    if child.status is not None:
        _reap(kernel, child)
    if stat_addr and kernel.user.write(stat_addr, struct.pack("<I", status)) != 4:
        raise KernelError(errno.EFAULT)
    if ru and kernel.user.write(ru, _RUSAGE) != len(_RUSAGE):
        raise KernelError(errno.EFAULT)
    return child.pid


def _cause(status: int) -> tuple[int, int]:
    """si_code and si_status of what wait(2) says."""
    if status == 0xFFFF:
        return CLD_CONTINUED, SIGCONT
    if status & 0xFF == 0x7F:
        return CLD_STOPPED, status >> 8
    return (CLD_KILLED, status & 0x7F) if status & 0x7F else (CLD_EXITED, status >> 8)


@syscall(247)
async def sys_waitid(kernel: KernelCore, which: int, upid: int, infop: int, options: int, ru: int) -> int:
    """Wait for a child, and learn how it ended."""
    options &= 0xFFFF_FFFF
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | _WNOTHREAD | _WCLONE | _WALL) or (
        not options & (WEXITED | WUNTRACED | WCONTINUED)
    ):
        raise KernelError(errno.EINVAL, f"waitid has no options {options:#x}")
    which &= 0xFFFF_FFFF
    if which not in (_P_ALL, _P_PID, _P_PGID):
        raise KernelError(errno.EINVAL, f"waitid cannot wait for kind {which}")
    pgid = kernel[Programs].current.group.pgid
    number = upid or pgid if which == _P_PGID else upid
    found = await do_wait(kernel, which, number, options)
    info = bytes(128)
    if found is not None:
        child, status = found
        code, value = _cause(status)
        info = struct.pack("<iiiiiIi", SIGCHLD, 0, code, 0, child.pid, child.leader.who("uid"), value).ljust(
            128, b"\0"
        )
        if child.status is not None and not options & WNOWAIT:
            _reap(kernel, child)
    if infop and kernel.user.write(infop, info) != len(info):
        raise KernelError(errno.EFAULT)
    return 0
