"""Reading what system calls are handed: paths, directory descriptors, times."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from kmod_emu.uapi.stat import S_IFDIR

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.namei import Place
    from kmod_emu.kernel.kernel import KernelCore

PATH_MAX = 4096
_TIMESPEC = struct.Struct("<qq")


def signed(value: int) -> int:
    """A register as `long`."""
    return value - (1 << 64) if value >> 63 else value


def path(kernel: KernelCore, address: int, *, empty: bool = False) -> str:
    """A path in user memory (getname): EFAULT, ENAMETOOLONG, ENOENT for an empty one unless `empty`."""
    try:
        raw = kernel.user.strndup(address, PATH_MAX)
    except KernelError as error:
        if error.errno == errno.EINVAL:
            raise KernelError(errno.ENAMETOOLONG, "the path is longer than 4095 bytes") from None
        raise
    if not raw and not empty:
        raise KernelError(errno.ENOENT, "the path is empty")
    return raw.decode("utf-8", "surrogateescape")


def file(kernel: KernelCore, fd: int) -> File:
    """The open file of a descriptor of the caller's; EBADF."""
    return kernel[Vfs].files(kernel.sched.current).get(fd)


def start(kernel: KernelCore, dfd: int, name: str) -> Dentry | None:
    """Where a relative path begins: None for the working directory; EBADF, ENOTDIR."""
    if name.startswith("/") or as_int(dfd) == AT_FDCWD:
        return None
    dentry = kernel[Vfs].files(kernel.sched.current).get(dfd, path=True).dentry
    if not dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.ENOTDIR, f"descriptor {as_int(dfd)} is no directory")
    return dentry


def walk(kernel: KernelCore, dfd: int, name: str, *, follow: bool = True) -> Place:
    """Where a path leads that may begin at a descriptor."""
    return kernel[Vfs].walk(kernel.sched.current, name, follow=follow, start=start(kernel, dfd, name))


def at(kernel: KernelCore, dfd: int, address: int, flags: int) -> Dentry:
    """What a path leads to; with AT_EMPTY_PATH an empty one is what the descriptor itself names."""
    name = path(kernel, address, empty=bool(flags & AT_EMPTY_PATH))
    if not name:
        task = kernel.sched.current
        if as_int(dfd) == AT_FDCWD:
            return kernel[Vfs].fs(task).cwd
        return kernel[Vfs].files(task).get(dfd, path=True).dentry
    return walk(kernel, dfd, name, follow=not flags & AT_SYMLINK_NOFOLLOW).found


def timespec(kernel: KernelCore, address: int) -> int | None:
    """Nanoseconds in a `struct timespec`, None for NULL; EFAULT, EINVAL."""
    if not address:
        return None
    seconds, nanoseconds = _TIMESPEC.unpack(kernel.user.copy_from(address, _TIMESPEC.size))
    if seconds < 0 or not 0 <= nanoseconds < NSEC_PER_SEC:
        raise KernelError(errno.EINVAL, "no such time")
    return int(seconds * NSEC_PER_SEC + nanoseconds)


def give(kernel: KernelCore, address: int, data: bytes) -> None:
    """Copy a result to user memory; EFAULT."""
    if kernel.user.write(address, data) != len(data):
        raise KernelError(errno.EFAULT, f"the buffer at {address:#x} is not writable")
