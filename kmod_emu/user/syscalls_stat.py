"""System calls that ask about files (fs/stat.c, fs/statfs.c, fs/open.c)."""

from __future__ import annotations

import struct
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.attributes import vfs_getattr
from kmod_emu.fs.inode import MAY_EXEC, MAY_READ, MAY_WRITE, need
from kmod_emu.kernel.cred import override_creds, prepare_creds, put_cred, revert_creds
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.inode import Inode
    from kmod_emu.kernel.kernel import KernelCore

_AT_NO_AUTOMOUNT, _AT_STATX_SYNC_TYPE = 0x800, 0x6000


@syscall(4)
async def sys_stat(kernel: KernelCore, filename: int, statbuf: int) -> int:
    """About a file."""
    return await sys_newfstatat(kernel, AT_FDCWD, filename, statbuf, 0)


@syscall(6)
async def sys_lstat(kernel: KernelCore, filename: int, statbuf: int) -> int:
    """About a file, or a link itself."""
    return await sys_newfstatat(kernel, AT_FDCWD, filename, statbuf, AT_SYMLINK_NOFOLLOW)


@syscall(5)
async def sys_fstat(kernel: KernelCore, fd: int, statbuf: int) -> int:
    """About an open file."""
    from kmod_emu.fs.vfs import Vfs

    file = kernel[Vfs].files(kernel.sched.current).get(fd, path=True)
    arguments.give(kernel, statbuf, vfs_getattr(file.inode).pack())
    return 0


@syscall(262)
async def sys_newfstatat(kernel: KernelCore, dfd: int, filename: int, statbuf: int, flag: int) -> int:
    """stat(2) from a descriptor."""
    if flag & ~(AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | AT_EMPTY_PATH):
        raise KernelError(errno.EINVAL)
    inode = arguments.at(kernel, dfd, filename, flag).inode
    arguments.give(kernel, statbuf, vfs_getattr(inode).pack())
    return 0


@syscall(332)
async def sys_statx(kernel: KernelCore, dfd: int, filename: int, flags: int, mask: int, buffer: int) -> int:
    """More about a file."""
    if mask >> 31 & 1 or flags & _AT_STATX_SYNC_TYPE == _AT_STATX_SYNC_TYPE:
        raise KernelError(errno.EINVAL)
    if flags & ~(AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | AT_EMPTY_PATH | _AT_STATX_SYNC_TYPE):
        raise KernelError(errno.EINVAL)
    inode = arguments.at(kernel, dfd, filename, flags).inode
    arguments.give(kernel, buffer, vfs_getattr(inode).statx())
    return 0


@syscall(21)
async def sys_access(kernel: KernelCore, filename: int, mode: int) -> int:
    """Whether a file may be used that way."""
    return await sys_faccessat2(kernel, AT_FDCWD, filename, mode, 0)


@syscall(269)
async def sys_faccessat(kernel: KernelCore, dfd: int, filename: int, mode: int) -> int:
    """access(2) from a descriptor."""
    return await sys_faccessat2(kernel, dfd, filename, mode, 0)


@syscall(439)
async def sys_faccessat2(kernel: KernelCore, dfd: int, filename: int, mode: int, flags: int) -> int:
    """access(2) with flags."""
    if mode & ~(MAY_READ | MAY_WRITE | MAY_EXEC):
        raise KernelError(errno.EINVAL)
    if flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(errno.EINVAL)
    with nullcontext() if flags & AT_EACCESS else _real_credentials(kernel):
        _access(kernel, dfd, filename, mode, flags & ~AT_EACCESS)
    return 0


def _access(kernel: KernelCore, dfd: int, filename: int, mode: int, flags: int) -> None:
    dentry = arguments.at(kernel, dfd, filename, flags)
    if mode:
        need(kernel.sched.current, dentry.inode, mode, dentry.path)


@contextmanager
def _real_credentials(kernel: KernelCore) -> Iterator[None]:
    """Act as the real user, with what that one may do (fs/open.c: access_override_creds)."""
    new = kernel.view("cred", prepare_creds(kernel))
    new.fsuid, new.fsgid = new.uid, new.gid
    new.cap_effective = 0 if new.uid else int(new.cap_permitted)
    old = override_creds(kernel, new.address)
    try:
        yield
    finally:
        revert_creds(kernel, old)
        put_cred(kernel, new.address)


@syscall(137)
async def sys_statfs(kernel: KernelCore, pathname: int, buf: int) -> int:
    """About the file system of a path."""
    return _statfs(kernel, arguments.at(kernel, AT_FDCWD, pathname, 0).inode, buf)


@syscall(138)
async def sys_fstatfs(kernel: KernelCore, fd: int, buf: int) -> int:
    """About the file system of an open file."""
    return _statfs(kernel, arguments.file(kernel, fd).inode, buf)


def _statfs(kernel: KernelCore, inode: Inode, buf: int) -> int:
    facts = struct.pack("<15q", inode.sb.magic, 4096, 0, 0, 0, 0, 0, 0, 255, 4096, 0x1020, 0, 0, 0, 0)
    arguments.give(kernel, buf, facts)
    return 0
