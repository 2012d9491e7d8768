"""Signals of programs: actions, delivery on the way back to ring 3, handlers (kernel/signal.c, arch/x86)."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel import signal as kernel_signal
from kmod_emu.kernel.schedule import (
    TASK_INTERRUPTIBLE,
    TASK_STOPPED,
    TASK_WAKEKILL,
    sleep_in_state,
    try_to_wake_up,
)
from kmod_emu.kernel.uaccess import access_ok
from kmod_emu.machine.memory import Access, PageFault
from kmod_emu.uapi import errno
from kmod_emu.user.programs import SIG_DFL, SIG_IGN, AltStack, Exited, Programs, SigAction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.programs import Program, ThreadGroup

SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL = range(1, 10)
SIGSEGV, SIGPIPE, SIGALRM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU = (
    11,
    13,
    14,
    17,
    18,
    19,
    20,
    21,
    22,
)
SIGURG, SIGWINCH = 23, 28
_IGNORED_BY_DEFAULT = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH}
_STOPS = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}
_DUMPS_CORE = {SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, 24, 25, 31}
_CORE = 0  # RLIMIT_CORE is 0, so no status has the bit 0x80
SA_SIGINFO, SA_RESTORER, SA_ONSTACK, SA_RESTART = 4, 0x0400_0000, 0x0800_0000, 0x1000_0000
CLD_STOPPED, CLD_CONTINUED, SA_NOCLDSTOP = 5, 6, 1
_CONTINUED = 0xFFFF  # what wait(2) says of a process that goes on
SA_NODEFER, SA_RESETHAND, SA_NOCLDWAIT = 0x4000_0000, 0x8000_0000, 2
SI_USER, SI_KERNEL, SI_TKILL = 0, 0x80, -6
UNBLOCKABLE = 1 << SIGKILL - 1 | 1 << SIGSTOP - 1
SS_ONSTACK, SS_DISABLE = 1, 2

_RED_ZONE = 128
_FXSAVE_SIZE = 512
_MCONTEXT = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax",
             "rcx", "rsp", "rip")  # fmt: skip
_UCONTEXT = struct.Struct("<QQQiIQ17QQHHHHQQQQQ64xQ")  # up to uc_sigmask
_SIGINFO = struct.Struct("<iii4xQQ96x")
_FLAGS = 2 | 4  # UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
_USER_CS, _USER_SS = 0x33, 0x2B
_FIX_EFLAGS = 0x50DD5  # what sigreturn may change: AC OF DF TF SF ZF AF PF CF RF
_DF, _TF, _RF = 0x400, 0x100, 0x10000


def refresh_ignored(kernel: KernelCore, program: Program) -> None:
    """Tell the kernel which signals need not wake the task: ignored ones that are not blocked."""
    blocked = kernel_signal.blocked(kernel, program.task)
    program.task.ignored = {
        signal
        for signal in _IGNORED_BY_DEFAULT | program.actions.keys()
        if not blocked >> signal - 1 & 1 and _does_nothing(program.actions.get(signal, SigAction()), signal)
    }


def _does_nothing(action: SigAction, signal: int) -> bool:
    return action.handler == SIG_IGN or (action.handler == SIG_DFL and signal in _IGNORED_BY_DEFAULT)


def set_mask(kernel: KernelCore, program: Program, mask: int) -> None:
    """Say which signals wait."""
    kernel_signal.set_blocked(kernel, program.task, mask)
    refresh_ignored(kernel, program)


@contextmanager
def user_sigmask(kernel: KernelCore, address: int, size: int) -> Iterator[None]:
    """Wait with another signal mask, that of user memory (kernel/signal.c: set_user_sigmask).

    The one before is put back at the end; if a signal came, only when its handler has run.

    Raises:
        KernelError: EINVAL, sets have 8 bytes; EFAULT.
    """
    if not address:
        yield
        return
    if size != 8:
        raise KernelError(errno.EINVAL, "a set of signals has 8 bytes")
    program = kernel[Programs].current
    mask = int.from_bytes(kernel.user.copy_from(address, 8), "little") & ~UNBLOCKABLE
    program.saved_mask = kernel_signal.blocked(kernel, program.task)
    set_mask(kernel, program, mask)
    try:
        yield
    except KernelError as error:
        if error.errno not in (errno.EINTR, errno.ERESTARTNOHAND):
            _restore_mask(kernel, program)
        raise
    _restore_mask(kernel, program)


def _restore_mask(kernel: KernelCore, program: Program) -> None:
    if program.saved_mask is not None:
        set_mask(kernel, program, program.saved_mask)
        program.saved_mask = None


def send(kernel: KernelCore, task: Task, signal: int, code: int = SI_USER, value: int = 0) -> None:
    """Send a signal to one task; `value` is the sender's pid, or the address of a fault."""
    program = kernel[Programs].by_pid.get(task.pid)
    if program is not None and signal == SIGCONT:
        _go_on(kernel, program.group)
    if program is not None and signal:
        uid = kernel.sched.current.who("uid") if code <= 0 else 0
        program.siginfo.setdefault(signal, (code, value, uid))
    kernel_signal.send_signal(kernel, task, signal)


def _stop(kernel: KernelCore, group: ThreadGroup, signal: int) -> None:
    """All threads stop before they go on in ring 3 (do_signal_stop)."""
    group.stopped, group.news = signal, signal << 8 | 0x7F
    for thread in group.threads:
        kernel_signal.forget(kernel, thread, 1 << SIGCONT - 1)
    _tell_parent(kernel, group, CLD_STOPPED, signal)


def _go_on(kernel: KernelCore, group: ThreadGroup) -> None:
    """SIGCONT has been sent: even if it is blocked or ignored, the process goes on (prepare_signal)."""
    for thread in group.threads:
        kernel_signal.forget(kernel, thread, sum(1 << number - 1 for number in _STOPS))
    if not group.stopped:
        return
    group.stopped, group.news = 0, _CONTINUED
    for thread in group.threads:
        try_to_wake_up(kernel, thread.address, TASK_STOPPED)
    _tell_parent(kernel, group, CLD_CONTINUED, SIGCONT)


def _tell_parent(kernel: KernelCore, group: ThreadGroup, code: int, value: int) -> None:
    parent = group.parent
    if parent is None or not parent.threads:
        return
    action = kernel[Programs].by_pid[parent.threads[0].pid].actions.get(SIGCHLD, SigAction())
    if not action.flags & SA_NOCLDSTOP:
        send(kernel, parent.threads[0], SIGCHLD, code, group.pid)
    for task in parent.waiting:
        try_to_wake_up(kernel, task.address, TASK_INTERRUPTIBLE)


async def stay_stopped(kernel: KernelCore, program: Program) -> None:
    """Until SIGCONT or SIGKILL."""
    while program.group.stopped and not kernel_signal.fatal_signal_pending(kernel, program.task):
        await sleep_in_state(kernel, TASK_STOPPED | TASK_WAKEKILL)


def force(kernel: KernelCore, program: Program, signal: int, code: int, address: int) -> None:
    """A fault of the program's own: it cannot be ignored or wait (force_sig_info_to_task)."""
    action = program.actions.get(signal, SigAction())
    blocked = kernel_signal.blocked(kernel, program.task)
    if action.handler == SIG_IGN or blocked >> signal - 1 & 1:
        program.actions[signal] = SigAction()
    set_mask(kernel, program, blocked & ~(1 << signal - 1))
    program.siginfo[signal] = (code, address, 0)
    kernel_signal.send_signal(kernel, program.task, signal)


def deliver(kernel: KernelCore, program: Program) -> None:
    """Act on pending signals before the program goes on (arch_do_signal_or_restart).

    Raises:
        Exited: One of them ends the program.
    """
    while kernel_signal.signal_pending(kernel, program.task):
        signal = kernel_signal.dequeue(kernel, program.task)
        if not signal:
            break
        info = program.siginfo.pop(signal, (SI_USER, 0, 0))
        action = program.actions.get(signal, SigAction())
        if action.handler == SIG_IGN or (action.handler == SIG_DFL and signal in _IGNORED_BY_DEFAULT):
            continue
        if action.handler == SIG_DFL:
            if signal in _STOPS:
                _stop(kernel, program.group, signal)
                return
            kernel.events.emit("killed", pid=program.task.pid, comm=program.task.comm, signal=signal)
            raise Exited(signal)
        _restart(program, action)
        _call_handler(kernel, program, signal, action, info)
        if action.flags & SA_RESETHAND:
            program.actions[signal] = SigAction()
        return
    _restart(program, None)
    _restore_mask(kernel, program)


def _restart(program: Program, action: SigAction | None) -> None:
    """A call that a signal interrupted is made again, or fails with EINTR (arch/x86/kernel/signal.c)."""
    context = program.context
    number, program.system_call = program.system_call, -1
    if number < 0:
        return
    result = context["rax"] - (1 << 64)
    again = result == -errno.ERESTARTNOINTR
    if action is None:
        again = again or result in (-errno.ERESTARTSYS, -errno.ERESTARTNOHAND)
        if result == -errno.ERESTART_RESTARTBLOCK:
            again, number = True, 219
    elif result == -errno.ERESTARTSYS and action.flags & SA_RESTART:
        again = True
    elif result in (-errno.ERESTARTSYS, -errno.ERESTARTNOHAND, -errno.ERESTART_RESTARTBLOCK):
        context["rax"] = -errno.EINTR
    if again:
        context["rax"] = number
        context["rip"] -= 2


# --- handlers ---------------------------------------------------------------------------------------


def _call_handler(
    kernel: KernelCore, program: Program, signal: int, action: SigAction, info: tuple[int, int, int]
) -> None:
    """Push a frame and point the program at its handler (arch/x86/kernel/signal.c: __setup_rt_frame)."""
    context, mask = program.context, kernel_signal.blocked(kernel, program.task)
    if program.saved_mask is not None:
        mask, program.saved_mask = program.saved_mask, None
    place, alternate = context["rsp"] - _RED_ZONE, program.altstack
    on_alternate = alternate.base < place + _RED_ZONE <= alternate.base + alternate.size
    if action.flags & SA_ONSTACK and alternate.size and not on_alternate:
        place = alternate.base + alternate.size
    floating = (place - _FXSAVE_SIZE) & -64
    frame = ((floating - 8 - _UCONTEXT.size - _SIGINFO.size) & -16) - 8
    registers = context.general()
    flags = SS_DISABLE if not alternate.size else SS_ONSTACK if on_alternate else 0
    code, value, uid = info
    ucontext = _UCONTEXT.pack(
        _FLAGS, 0, alternate.base, flags, 0, alternate.size, *(registers[name] for name in _MCONTEXT),
        context["eflags"], _USER_CS, 0, 0, _USER_SS, 0, 0, mask, value if code > 0 else 0, floating, mask,
    )  # fmt: skip
    who = value if code > 0 else (uid << 32 | value & 0xFFFF_FFFF)
    siginfo = _SIGINFO.pack(signal, 0, code, who, 0)
    contents = struct.pack("<Q", action.restorer) + ucontext + siginfo
    try:
        if not action.flags & SA_RESTORER or not access_ok(frame, place - frame):
            raise PageFault(frame, Access.WRITE)
        mm = program.task.mm
        assert mm is not None
        mm.check_writable(frame, len(contents))
        mm.check_writable(floating, _FXSAVE_SIZE)
        mm.write(frame, contents)
        mm.write(floating, kernel[Programs].ring3.fxsave(context))
    except PageFault:
        if signal == SIGSEGV:
            raise Exited(SIGSEGV) from None
        force(kernel, program, SIGSEGV, SI_KERNEL, 0)
        deliver(kernel, program)
        return
    context["rdi"], context["rsi"], context["rdx"] = signal, frame + 8 + _UCONTEXT.size, frame + 8
    context["rax"], context["rsp"], context["rip"] = 0, frame, action.handler
    context["eflags"] &= ~(_DF | _TF | _RF)
    more = action.mask | (0 if action.flags & SA_NODEFER else 1 << signal - 1)
    set_mask(kernel, program, kernel_signal.blocked(kernel, program.task) | more)


def sigreturn(kernel: KernelCore, program: Program) -> int:
    """Put back what a handler's frame holds; the interrupted RAX (arch/x86/kernel/signal.c)."""
    context, mm = program.context, program.task.mm
    assert mm is not None
    try:
        frame = mm.read(context["rsp"], _UCONTEXT.size)
        fields = _UCONTEXT.unpack(frame)
        registers, eflags, floating, mask = fields[6:23], fields[23], fields[32], fields[33]
        if floating:
            kernel[Programs].ring3.fxrstor(context, mm.read(floating, _FXSAVE_SIZE))
    except PageFault:
        force(kernel, program, SIGSEGV, SI_KERNEL, 0)
        return 0
    for name, value in zip(_MCONTEXT, registers, strict=True):
        context[name] = value
    context["eflags"] = (context["eflags"] & ~_FIX_EFLAGS) | (eflags & _FIX_EFLAGS)
    base, flags, size = fields[2], fields[3], fields[5]
    program.altstack = AltStack() if flags & SS_DISABLE else AltStack(base, size)
    set_mask(kernel, program, mask)
    program.system_call = -1
    return context["rax"]


def check_signal(signal: int) -> None:
    """EINVAL for what is no signal."""
    if not 0 < signal <= 64:
        raise KernelError(errno.EINVAL, f"there is no signal {signal}")
