"""Between ring 3 and the kernel: system calls, faults, time slices (arch/x86/entry/common.c)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.activation import Block
from kmod_emu.kernel.signal import signal_pending
from kmod_emu.kernel.syscalls import do_syscall, name_of
from kmod_emu.machine.cpu import StopReason
from kmod_emu.uapi import errno
from kmod_emu.user import faults
from kmod_emu.user.exit import do_exit
from kmod_emu.user.programs import Exited, Programs
from kmod_emu.user.signals import SIGINT, SIGKILL, deliver, send, stay_stopped

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.machine.cpu import Stop
    from kmod_emu.machine.ring3 import UserContext
    from kmod_emu.user.programs import Program

TICK_NS = 4_000_000  # a time slice, one tick at 250 Hz
SLICE = 250_000  # the instructions that are taken to last as long
_PATIENCE = 0.1  # seconds after which a program that nobody waits for is looked at
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_R11 = 0x246
_SHOWN = 0xFFFF_FFFF_FFFF_F000


class HasContext(Protocol):
    """What runs in ring 3."""

    context: UserContext


class Run:
    """Awaitable: run a program; the result is the `Stop` (see sched.RunInRing3)."""

    __slots__ = ("_kernel", "_limits", "_program")

    def __init__(
        self, kernel: KernelCore, program: HasContext, count: int, patience: float = _PATIENCE
    ) -> None:
        self._kernel, self._program, self._limits = kernel, program, (count, patience)

    def __await__(self) -> Generator[Run, Any, Stop]:
        """Ask the scheduler."""
        stop: Stop = yield self
        return stop

    def run(self) -> Stop:
        """What the scheduler does."""
        return self._kernel[Programs].ring3.run(self._program.context, *self._limits)


async def run_program(kernel: KernelCore, program: Program) -> int:
    """A program's life in ring 3 until it ends; its status as wait(2) gives it."""
    programs, sched, clock = kernel[Programs], kernel.sched, kernel.clock
    slice_end = clock.now_ns + TICK_NS
    try:
        while True:
            others = sched.contended or sched.agenda.next_ns is not None
            stop = await Run(kernel, program, SLICE if others else 0)
            if stop.reason is StopReason.SYSCALL:
                await _system_call(kernel, program)
            elif stop.reason is StopReason.COUNT:
                clock.advance(TICK_NS)
            elif stop.reason is not StopReason.PATIENCE and not await faults.device_fault(program, stop):
                faults.fault(kernel, program, stop)
            _look_outside(kernel, programs)
            if clock.now_ns >= slice_end:
                await let_others_run(kernel)
                slice_end = clock.now_ns + TICK_NS
            if program.group.killed_by is not None:
                raise Exited(program.group.killed_by)
            while program.group.stopped or signal_pending(kernel, program.task):
                await stay_stopped(kernel, program)
                deliver(kernel, program)
            program.system_call = -1
    except Exited as end:
        return await do_exit(kernel, program, end.status)


def last_steps(kernel: KernelCore, task: Task, death: Killed) -> Coroutine[Any, Any, int] | None:
    """What a program that an oops ended still does, None for other tasks and for the second time."""
    program = kernel[Programs].by_pid.get(task.pid)
    if program is None or program.dying or task not in program.group.threads:
        return None
    program.dying = True
    return do_exit(kernel, program, death.status if isinstance(death, Exited) else death.signal)


async def _system_call(kernel: KernelCore, program: Program) -> None:
    """do_syscall_64."""
    context = program.context
    number = program.system_call = context["rax"] & 0xFFFF_FFFF
    context["rcx"], context["r11"] = context["rip"], _R11
    arguments = tuple(context[name] for name in _ARGUMENTS)
    try:
        context["rax"] = await do_syscall(kernel, number, arguments)
    except Killed:
        raise
    except KernelError as error:
        if error.errno == errno.ENOSYS and name_of(number) is None:
            kernel.events.emit("unknown_syscall", number=number, comm=program.task.comm)
        program.context["rax"] = -error.errno


def _look_outside(kernel: KernelCore, programs: Programs) -> None:
    """What the host wants: Ctrl-C, and an end after some processor time."""
    if programs.interrupted:
        programs.interrupted = False
        for group in list(programs.groups.values()):
            if group.pgid == programs.foreground and group.threads:
                send(kernel, group.threads[0], SIGINT, code=0x80)
    if programs.deadline is not None and time.process_time() > programs.deadline:
        programs.out_of_time = True
        programs.deadline = None
        for program in list(programs.by_pid.values()):
            send(kernel, program.task, SIGKILL, code=0x80)


async def let_others_run(kernel: KernelCore, *, always: bool = False) -> None:
    """Go to the end of the run queue, `always` also where nobody is in it; what is due happens first."""
    sched, task = kernel.sched, kernel.sched.current
    if always or sched.contended or sched.agenda.next_ns is not None:
        sched.at(kernel.clock.now_ns, lambda: sched.wake(task))
        await Block()
