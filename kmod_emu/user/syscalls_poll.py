"""System calls that wait for files: poll, ppoll, select, pselect6 (fs/select.c)."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import RLIMIT_NOFILE, FilesStruct, as_int
from kmod_emu.fs.file import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDNORM, EPOLLWRNORM
from kmod_emu.fs.select import poll_files
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.user import arguments
from kmod_emu.user.programs import Programs
from kmod_emu.user.signals import user_sigmask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_POLLFD = struct.Struct("<ihH")
_RDBAND, _WRBAND = 0x80, 0x200
_IN = EPOLLIN | EPOLLRDNORM | _RDBAND | EPOLLHUP | EPOLLERR
_OUT = EPOLLOUT | EPOLLWRNORM | _WRBAND | EPOLLERR
_FD_SETSIZE = 1024


@syscall(7)
async def sys_poll(kernel: KernelCore, ufds: int, nfds: int, timeout_msecs: int) -> int:
    """Wait until one of several files is ready."""
    timeout = as_int(timeout_msecs)
    return await _poll_until(kernel, ufds, nfds, None if timeout < 0 else _after(kernel, timeout * 1_000_000))


async def _poll_until(kernel: KernelCore, ufds: int, nfds: int, end_ns: int | None) -> int:
    """After a signal without a handler it goes on, not anew."""
    try:
        return await _poll(kernel, ufds, nfds, _left(kernel, end_ns))
    except KernelError as error:
        program = kernel[Programs].by_pid.get(kernel.sched.current.pid)
        if error.errno != errno.ERESTARTNOHAND or program is None:
            raise
        program.restart = lambda: _poll_until(kernel, ufds, nfds, end_ns)
        raise KernelError(errno.ERESTART_RESTARTBLOCK) from None


def _after(kernel: KernelCore, timeout_ns: int | None) -> int | None:
    """When a time is over that begins now."""
    return None if timeout_ns is None else kernel.clock.now_ns + timeout_ns


def _left(kernel: KernelCore, end_ns: int | None) -> int | None:
    return None if end_ns is None else max(end_ns - kernel.clock.now_ns, 0)


@contextmanager
def _telling_time_left(
    kernel: KernelCore, place: int, end_ns: int | None, unit_ns: int = 1
) -> Iterator[None]:
    """Write to the caller's timeout what is left of it; where that cannot be, the call is not made again."""
    try:
        yield
    except KernelError as error:
        if not _tell_time_left(kernel, place, end_ns, unit_ns) and error.errno == errno.ERESTARTNOHAND:
            raise KernelError(errno.EINTR) from None
        raise
    _tell_time_left(kernel, place, end_ns, unit_ns)


def _tell_time_left(kernel: KernelCore, place: int, end_ns: int | None, unit_ns: int) -> bool:
    left = _left(kernel, end_ns)
    if left is None:
        return True
    seconds, rest = divmod(left, NSEC_PER_SEC)
    return kernel.user.write(place, struct.pack("<qq", seconds, rest // unit_ns)) == 16


@syscall(271)
async def sys_ppoll(
    kernel: KernelCore, ufds: int, nfds: int, tsp: int, sigmask: int = 0, sigsetsize: int = 8
) -> int:
    """poll(2) with a timespec, and another signal mask meanwhile."""
    end = _after(kernel, arguments.timespec(kernel, tsp))
    with _telling_time_left(kernel, tsp, end), user_sigmask(kernel, sigmask, sigsetsize):
        return await _poll(kernel, ufds, nfds, _left(kernel, end))


async def _poll(kernel: KernelCore, ufds: int, nfds: int, timeout_ns: int | None) -> int:
    nfds &= 0xFFFF_FFFF
    if nfds > RLIMIT_NOFILE:
        raise KernelError(errno.EINVAL, f"more than {RLIMIT_NOFILE} descriptors")
    raw = kernel.user.copy_from(ufds, nfds * _POLLFD.size)
    asked = [(fd, events & 0xFFFF) for fd, events, _ in _POLLFD.iter_unpack(raw)]
    files = kernel[Vfs].files(kernel.sched.current)
    live = [(index, fd, events) for index, (fd, events) in enumerate(asked) if fd >= 0]
    ready = await poll_files(kernel, [(_find(files, fd), events) for _, fd, events in live], timeout_ns)
    answers = [0] * nfds
    for (index, _, _), mask in zip(live, ready, strict=True):
        answers[index] = mask & 0xFFFF
    for index, mask in enumerate(answers):
        arguments.give(kernel, ufds + index * _POLLFD.size + 6, mask.to_bytes(2, "little"))
    return sum(map(bool, answers))


def _find(files: FilesStruct, fd: int) -> File | None:
    try:
        return files.get(fd)
    except KernelError:
        return None


@syscall(23)
async def sys_select(kernel: KernelCore, n: int, inp: int, outp: int, exp: int, tvp: int) -> int:
    """Wait until one of a set of files is ready."""
    timeout_ns = None
    if tvp:
        seconds, microseconds = struct.unpack("<qq", kernel.user.copy_from(tvp, 16))
        if seconds < 0 or microseconds < 0:
            raise KernelError(errno.EINVAL)
        timeout_ns = seconds * 1_000_000_000 + microseconds * 1_000
    end = _after(kernel, timeout_ns)
    with _telling_time_left(kernel, tvp, end, 1000):
        return await _select(kernel, n, (inp, outp, exp), _left(kernel, end))


@syscall(270)
async def sys_pselect6(
    kernel: KernelCore, n: int, inp: int, outp: int, exp: int, tsp: int, sig: int = 0
) -> int:
    """select(2) with a timespec, and another signal mask meanwhile, whose place and size `sig` points to."""
    mask, size = struct.unpack("<QQ", kernel.user.copy_from(sig, 16)) if sig else (0, 0)
    end = _after(kernel, arguments.timespec(kernel, tsp))
    with _telling_time_left(kernel, tsp, end), user_sigmask(kernel, mask, size):
        return await _select(kernel, n, (inp, outp, exp), _left(kernel, end))


async def _select(kernel: KernelCore, n: int, sets: tuple[int, int, int], timeout_ns: int | None) -> int:
    n = as_int(n)
    if n < 0:
        raise KernelError(errno.EINVAL)
    n = min(n, _FD_SETSIZE)
    size = (n + 63) // 64 * 8
    bits = [int.from_bytes(kernel.user.copy_from(place, size), "little") if place else 0 for place in sets]
    files = kernel[Vfs].files(kernel.sched.current)
    wanted, who = [], []
    for fd in range(n):
        mask = sum(m for m, have in zip((_IN, _OUT, EPOLLPRI), bits, strict=True) if have >> fd & 1)
        if mask:
            wanted.append((files.get(fd), mask))
            who.append(fd)
    results = [0, 0, 0]
    for fd, ready in zip(who, await poll_files(kernel, wanted, timeout_ns), strict=True):
        for index, mask in enumerate((_IN, _OUT, EPOLLPRI)):
            if ready & mask and bits[index] >> fd & 1:
                results[index] |= 1 << fd
    for place, result in zip(sets, results, strict=True):
        if place:
            arguments.give(kernel, place, result.to_bytes(size, "little"))
    return sum(result.bit_count() for result in results)
