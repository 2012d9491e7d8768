"""System calls of epoll(7) (fs/eventpoll.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.eventpoll import CTL_DEL, EventPoll, create
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.kernel.uaccess import access_ok
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_CLOEXEC
from kmod_emu.user import arguments
from kmod_emu.user.signals import user_sigmask

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_EVENT = struct.Struct("<IQ")  # packed on x86-64
_MOST = 0x7FFF_FFFF // _EVENT.size


def _as_int(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 1 << 31) - (1 << 31)


@syscall(213)
async def sys_epoll_create(kernel: KernelCore, size: int) -> int:
    """A descriptor to wait with; the size is only looked at."""
    if _as_int(size) <= 0:
        raise KernelError(errno.EINVAL)
    return await create(kernel, cloexec=False)


@syscall(291)
async def sys_epoll_create1(kernel: KernelCore, flags: int) -> int:
    """A descriptor to wait with."""
    if flags & 0xFFFF_FFFF & ~O_CLOEXEC:
        raise KernelError(errno.EINVAL)
    return await create(kernel, cloexec=bool(flags & O_CLOEXEC))


def _eventpoll(kernel: KernelCore, epfd: int) -> EventPoll:
    op = arguments.file(kernel, epfd).op
    if not isinstance(op, EventPoll):
        raise KernelError(errno.EINVAL, "the descriptor is none of epoll's")
    return op


@syscall(233)
async def sys_epoll_ctl(kernel: KernelCore, epfd: int, op: int, fd: int, event: int) -> int:
    """Watch a descriptor, or no longer."""
    op, events, data = _as_int(op), 0, 0
    if op != CTL_DEL:
        events, data = _EVENT.unpack(kernel.user.copy_from(event, _EVENT.size))
    arguments.file(kernel, epfd)
    file = arguments.file(kernel, fd)
    if not file.op.can(file, "poll"):
        raise KernelError(errno.EPERM, "the file has no poll method")
    _eventpoll(kernel, epfd).control(op, _as_int(fd), file, events, data)
    return 0


@syscall(232)
async def sys_epoll_wait(kernel: KernelCore, epfd: int, events: int, maxevents: int, timeout: int) -> int:
    """Wait until a watched descriptor is ready."""
    limit = _as_int(timeout)
    return await _wait(kernel, epfd, events, maxevents, None if limit < 0 else limit * 1_000_000)


async def _wait(kernel: KernelCore, epfd: int, events: int, maxevents: int, timeout_ns: int | None) -> int:
    most = _as_int(maxevents)
    if not 0 < most <= _MOST:
        raise KernelError(errno.EINVAL, f"room for {most} events")
    if not access_ok(events, most * _EVENT.size):
        raise KernelError(errno.EFAULT, f"{events:#x} is no user address")
    found = await _eventpoll(kernel, epfd).wait(most, timeout_ns)
    arguments.give(kernel, events, b"".join(_EVENT.pack(*one) for one in found))
    return len(found)


@syscall(281)
async def sys_epoll_pwait(
    kernel: KernelCore, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int
) -> int:
    """The same with another signal mask."""
    with user_sigmask(kernel, sigmask, sigsetsize):
        return await sys_epoll_wait(kernel, epfd, events, maxevents, timeout)


@syscall(441)
async def sys_epoll_pwait2(
    kernel: KernelCore, epfd: int, events: int, maxevents: int, timeout: int, sigmask: int, sigsetsize: int
) -> int:
    """The same with a timespec."""
    timeout_ns = arguments.timespec(kernel, timeout)
    with user_sigmask(kernel, sigmask, sigsetsize):
        return await _wait(kernel, epfd, events, maxevents, timeout_ns)
