"""System calls on time: clocks and sleeping (kernel/time/)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, sleep_in_state
from kmod_emu.kernel.signal import signal_pending
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.user import arguments
from kmod_emu.user.arguments import give
from kmod_emu.user.programs import Programs

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_REALTIME = {0, 5, 8, 11}  # CLOCK_REALTIME, its coarse and alarm kinds, CLOCK_TAI
_MONOTONIC = {1, 2, 3, 4, 6, 7, 9}  # since boot; also processor time, which is not kept
_TIMER_ABSTIME = 1


def _now(kernel: KernelCore, clock: int) -> int:
    if clock in _REALTIME:
        return EPOCH_AT_BOOT_NS + kernel.clock.now_ns
    if clock in _MONOTONIC or clock < 0:
        return kernel.clock.now_ns
    raise KernelError(errno.EINVAL, f"there is no clock {clock}")


def _timespec(ns: int) -> bytes:
    return struct.pack("<qq", *divmod(ns, NSEC_PER_SEC))


@syscall(228)
async def sys_clock_gettime(kernel: KernelCore, which: int, tp: int) -> int:
    """The time of a clock."""
    give(kernel, tp, _timespec(_now(kernel, as_int(which))))
    return 0


@syscall(229)
async def sys_clock_getres(kernel: KernelCore, which: int, tp: int) -> int:
    """A nanosecond."""
    _now(kernel, as_int(which))
    if tp:
        give(kernel, tp, _timespec(1))
    return 0


@syscall(96)
async def sys_gettimeofday(kernel: KernelCore, tv: int, tz: int) -> int:
    """Wall clock in microseconds."""
    seconds, nanoseconds = divmod(_now(kernel, 0), NSEC_PER_SEC)
    if tv:
        give(kernel, tv, struct.pack("<qq", seconds, nanoseconds // 1000))
    if tz:
        give(kernel, tz, bytes(8))
    return 0


@syscall(201)
async def sys_time(kernel: KernelCore, tloc: int) -> int:
    """Wall clock in seconds."""
    seconds = _now(kernel, 0) // NSEC_PER_SEC
    if tloc:
        give(kernel, tloc, struct.pack("<q", seconds))
    return seconds


async def _sleep_until(kernel: KernelCore, due_ns: int, rmtp: int, *, absolute: bool) -> int:
    """Sleep; a signal ends it, and it goes on after one without a handler (hrtimer_nanosleep)."""
    task = kernel.sched.current
    while kernel.clock.now_ns < due_ns and not signal_pending(kernel, task):
        await sleep_in_state(kernel, TASK_INTERRUPTIBLE, due_ns - kernel.clock.now_ns)
    left = due_ns - kernel.clock.now_ns
    if left <= 0:
        return 0
    if absolute:
        raise KernelError(errno.ERESTARTNOHAND)
    if rmtp:
        give(kernel, rmtp, _timespec(left))
    program = kernel[Programs].by_pid.get(task.pid)
    if program is not None:
        program.restart = lambda: _sleep_until(kernel, due_ns, rmtp, absolute=False)
    raise KernelError(errno.ERESTART_RESTARTBLOCK)


@syscall(35)
async def sys_nanosleep(kernel: KernelCore, rqtp: int, rmtp: int) -> int:
    """Sleep for some time."""
    duration = arguments.timespec(kernel, rqtp)
    if duration is None:
        raise KernelError(errno.EFAULT)
    return await _sleep_until(kernel, kernel.clock.now_ns + duration, rmtp, absolute=False)


@syscall(230)
async def sys_clock_nanosleep(kernel: KernelCore, which: int, flags: int, rqtp: int, rmtp: int) -> int:
    """Sleep for some time, or until some time."""
    now = _now(kernel, as_int(which))
    when = arguments.timespec(kernel, rqtp)
    if when is None:
        raise KernelError(errno.EFAULT)
    absolute = bool(flags & _TIMER_ABSTIME)
    duration = when - now if absolute else when
    return await _sleep_until(
        kernel, kernel.clock.now_ns + duration, 0 if absolute else rmtp, absolute=absolute
    )


@syscall(219)
async def sys_restart_syscall(kernel: KernelCore) -> int:
    """Go on with what a signal interrupted."""
    restart = kernel[Programs].current.restart
    if restart is None:
        raise KernelError(errno.EINTR)
    return int(await restart())
