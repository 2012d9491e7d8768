"""System calls on descriptors: dup, fcntl, ioctl (fs/file.c, fs/fcntl.c, fs/ioctl.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import RLIMIT_NOFILE, as_int
from kmod_emu.fs.open import filp_close
from kmod_emu.fs.pipe import CAPACITY, Pipes
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_FOWNER, CAP_SYS_ADMIN
from kmod_emu.uapi.fcntl import (
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_GETOWN,
    F_SETFD,
    F_SETFL,
    F_SETOWN,
    FD_CLOEXEC,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
)
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, S_IFREG
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_SETFL_MASK = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME

FIBMAP, FIGETBSZ = 1, 2
FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC, FIOQSIZE = 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 0x5460
FIFREEZE, FITHAW, FS_IOC_FIEMAP, FICLONE = 0xC0045877, 0xC0045878, 0xC020660B, 0x40049409
_UNSUPPORTED = {FS_IOC_FIEMAP: errno.EOPNOTSUPP, FICLONE: errno.EOPNOTSUPP, 0x4020940D: errno.EOPNOTSUPP}

_FIBMAP, _CAP_SYS_RAWIO = 1, 17
_F_GETPIPE_SZ = 1032


@syscall(32)
async def sys_dup(kernel: KernelCore, fildes: int) -> int:
    """Another descriptor of the same open file."""
    files = kernel[Vfs].files(kernel.sched.current)
    file = files.get(fildes, path=True)
    fd = files.install(file)
    file.count += 1
    return fd


@syscall(33)
async def sys_dup2(kernel: KernelCore, oldfd: int, newfd: int) -> int:
    """Make a descriptor one of the same open file; what it was before is closed."""
    files = kernel[Vfs].files(kernel.sched.current)
    if as_int(oldfd) == as_int(newfd):
        files.get(oldfd, path=True)
        return as_int(newfd)
    return await _dup_to(kernel, oldfd, newfd, cloexec=False)


@syscall(292)
async def sys_dup3(kernel: KernelCore, oldfd: int, newfd: int, flags: int) -> int:
    """dup2(2) with O_CLOEXEC."""
    if flags & ~O_CLOEXEC or as_int(oldfd) == as_int(newfd):
        raise KernelError(errno.EINVAL)
    return await _dup_to(kernel, oldfd, newfd, cloexec=bool(flags))


async def _dup_to(kernel: KernelCore, oldfd: int, newfd: int, *, cloexec: bool) -> int:
    files, target = kernel[Vfs].files(kernel.sched.current), as_int(newfd)
    if not 0 <= target < RLIMIT_NOFILE:
        raise KernelError(errno.EBADF, f"{target} can be no descriptor")
    file = files.get(oldfd, path=True)
    file.count += 1
    old = files.files.get(target)
    files.put(target, file, cloexec=cloexec)
    if old is not None:
        await filp_close(old)
    return target


@syscall(72)
async def sys_fcntl(kernel: KernelCore, fd: int, cmd: int, arg: int = 0) -> int:
    """Look at a descriptor or open file, or change it."""
    files = kernel[Vfs].files(kernel.sched.current)
    file = files.get(fd, path=True)
    number, cmd = as_int(fd), as_int(cmd)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        if not 0 <= as_int(arg) < RLIMIT_NOFILE:
            raise KernelError(errno.EINVAL)
        new = files.install(file, cloexec=cmd == F_DUPFD_CLOEXEC, lowest=as_int(arg))
        file.count += 1
        return new
    if cmd == F_GETFD:
        return FD_CLOEXEC if number in files.close_on_exec else 0
    if cmd == F_SETFD:
        files.set_close_on_exec(number, bool(arg & FD_CLOEXEC))
        return 0
    if cmd == _F_GETPIPE_SZ:
        if not isinstance(file.op, Pipes):
            raise KernelError(errno.EBADF, "the file is no pipe")
        return CAPACITY
    if cmd == F_GETFL:
        return file.flags
    files.get(fd)  # O_PATH descriptors can do no more
    if cmd == F_SETFL:
        return await _setfl(kernel, file, number, arg)
    if cmd in (F_SETOWN, F_GETOWN):
        return _owner(file, cmd, arg)
    raise KernelError(errno.EINVAL, f"fcntl {cmd} is not supported")


def _owner(file: File, cmd: int, arg: int) -> int:
    if cmd == F_SETOWN:
        file.owner = as_int(arg)
        return 0
    return file.owner


async def _setfl(kernel: KernelCore, file: File, fd: int, arg: int) -> int:
    """fs/fcntl.c: setfl."""
    task = kernel.sched.current
    if arg & O_NOATIME & ~file.flags and task.who("fsuid") != file.inode.uid and not task.capable(CAP_FOWNER):
        raise KernelError(errno.EPERM)
    if arg & O_DIRECT:
        raise KernelError(errno.EINVAL, "the file cannot be read directly")
    if (arg ^ file.flags) & O_ASYNC and file.op.can(file, "fasync"):
        result = await file.op.fasync(file, fd, int(bool(arg & O_ASYNC)))
        if result < 0:
            return result
        file.flags = (file.flags & ~O_ASYNC) | (arg & O_ASYNC)
    file.flags = (arg & _SETFL_MASK) | (file.flags & ~_SETFL_MASK)
    return 0


@syscall(16)
async def sys_ioctl(kernel: KernelCore, fd: int, cmd: int, arg: int = 0) -> int:
    """What the VFS knows for all files, then the file's own method (fs/ioctl.c)."""
    file, cmd = arguments.file(kernel, fd), cmd & 0xFFFF_FFFF
    result = await _do_vfs_ioctl(kernel, file, as_int(fd), cmd, arg)
    if result is not None:
        return result
    if not file.op.can(file, "ioctl"):
        raise KernelError(errno.ENOTTY, "the file has no ioctl method")
    result = await file.op.ioctl(file, cmd, arg)
    return -errno.ENOTTY if result == -errno.ENOIOCTLCMD else result


async def _do_vfs_ioctl(kernel: KernelCore, file: File, fd: int, cmd: int, arg: int) -> int | None:
    """The result of a command that the VFS serves itself; None for all others."""
    if cmd in (FIOCLEX, FIONCLEX):
        kernel[Vfs].files(kernel.sched.current).set_close_on_exec(fd, cmd == FIOCLEX)
        return 0
    if cmd in (FIONBIO, FIOASYNC):
        on = int.from_bytes(kernel.user.copy_from(arg, 4), "little")
        return await _ioctl_flag(file, fd, O_NONBLOCK if cmd == FIONBIO else O_ASYNC, bool(on))
    if cmd == FIOQSIZE:
        if not any(file.inode.is_type(kind) for kind in (S_IFDIR, S_IFREG, S_IFLNK)):
            return -errno.ENOTTY
        arguments.give(kernel, arg, file.inode.size.to_bytes(8, "little"))
        return 0
    if cmd in (FIFREEZE, FITHAW):
        return -errno.EOPNOTSUPP if kernel.sched.current.capable(CAP_SYS_ADMIN) else -errno.EPERM
    if cmd == FIGETBSZ:
        arguments.give(kernel, arg, (4096).to_bytes(4, "little"))
        return 0
    if cmd in _UNSUPPORTED:
        return -_UNSUPPORTED[cmd]
    if cmd == _FIBMAP and file.inode.is_type(S_IFREG):
        if not kernel.sched.current.capable(_CAP_SYS_RAWIO):
            return -errno.EPERM
        kernel.user.copy_from(arg, 4)
        return -errno.EINVAL  # no file system here has blocks
    if cmd == FIONREAD and file.inode.is_type(S_IFREG):
        left = file.inode.size - file.pos & 0xFFFF_FFFF
        arguments.give(kernel, arg, left.to_bytes(4, "little"))
        return 0
    return None


async def _ioctl_flag(file: File, fd: int, flag: int, on: bool) -> int:
    if flag == O_ASYNC and bool(file.flags & flag) != on:
        if not file.op.can(file, "fasync"):
            return -errno.ENOTTY
        result = await file.op.fasync(file, fd, int(on))
        if result < 0:
            return result
    file.flags = file.flags | flag if on else file.flags & ~flag
    return 0
