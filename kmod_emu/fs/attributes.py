"""Mode, owner and times of files: reading (fs/stat.c) and changing them (fs/open.c, fs/attr.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.guest_file import update_inode
from kmod_emu.fs.inode import MAY_WRITE, need
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_CHOWN, CAP_FOWNER, CAP_FSETID
from kmod_emu.uapi.stat import (
    S_IALLUGO,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISUID,
    major,
    minor,
    new_encode_dev,
)

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Dentry, Inode
    from kmod_emu.kernel.kernel import KernelCore

_NSEC = 1_000_000_000
_STAT = struct.Struct("<QQQIIIIQqqq6q24x")
_KEEP = 0xFFFF_FFFF
_STATX_BASIC = 0x7FF


class Status(NamedTuple):
    """What stat(2) says; device numbers as the kernel keeps them, times in nanoseconds since 1970."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int

    def pack(self) -> bytes:
        """`struct stat` of x86-64."""
        times = [part for t in (self.atime, self.mtime, self.ctime) for part in divmod(t, _NSEC)]
        return _STAT.pack(
            new_encode_dev(self.dev), self.ino, self.nlink, self.mode, self.uid, self.gid, 0,
            new_encode_dev(self.rdev), self.size, self.blksize, self.blocks, *times,
        )  # fmt: skip

    @classmethod
    def unpack(cls, raw: bytes) -> Status:
        """From a `struct stat`; device numbers as a program sees them."""
        dev, ino, nlink, mode, uid, gid, _, rdev, size, blksize, blocks, *times = _STAT.unpack(raw)
        seconds = [times[i] * _NSEC + times[i + 1] for i in (0, 2, 4)]
        return cls(dev, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks, *seconds)

    def statx(self) -> bytes:
        """`struct statx`."""
        head = struct.pack(
            "<IIQIIIHxxQQQQ", _STATX_BASIC, self.blksize, 0, self.nlink, self.uid, self.gid, self.mode,
            self.ino, self.size, self.blocks, 0,
        )  # fmt: skip
        stamps = b"".join(
            struct.pack("<qIxxxx", *divmod(t, _NSEC)) for t in (self.atime, 0, self.ctime, self.mtime)
        )
        numbers = struct.pack("<IIII", major(self.rdev), minor(self.rdev), major(self.dev), minor(self.dev))
        return (head + stamps + numbers).ljust(256, b"\0")


def vfs_getattr(inode: Inode) -> Status:
    """The facts of an inode."""
    times, size = inode.times, inode.size
    blocks = (size + 4095) // 4096 * 8 if inode.stored and inode.is_type(S_IFREG) else 0
    return Status(
        inode.sb.dev, inode.ino, inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev, size, 4096,
        blocks, times.access, times.modify, times.change,
    )  # fmt: skip


def chmod_common(kernel: KernelCore, dentry: Dentry, mode: int) -> None:
    """Set the permissions; only the owner may."""
    task, inode = kernel.sched.current, dentry.inode
    if task.who("fsuid") != inode.uid and not task.capable(CAP_FOWNER):
        raise KernelError(errno.EPERM, f"{dentry.path} belongs to uid {inode.uid}")
    if not task.in_group(inode.gid) and not task.capable(CAP_FSETID):
        mode &= ~S_ISGID
    inode.mode = inode.mode & S_IFMT | mode & S_IALLUGO
    _changed(kernel, inode)


def chown_common(kernel: KernelCore, dentry: Dentry, uid: int, gid: int) -> None:
    """Set owner and group; -1 keeps one. Only root may give files away."""
    task, inode = kernel.sched.current, dentry.inode
    if not task.capable(CAP_CHOWN):
        mine = task.who("fsuid") == inode.uid
        if uid != _KEEP and not (mine and uid == inode.uid):
            raise KernelError(errno.EPERM, "only root may change the owner of a file")
        if gid != _KEEP and not (mine and (gid == inode.gid or task.in_group(gid))):
            raise KernelError(errno.EPERM, "the group is not one of the caller's")
    inode.uid = inode.uid if uid == _KEEP else uid
    inode.gid = inode.gid if gid == _KEEP else gid
    if not inode.is_type(S_IFDIR):
        inode.mode &= ~(S_ISUID | S_ISGID if inode.mode & 0o010 else S_ISUID)
    _changed(kernel, inode)


def utimes_common(
    kernel: KernelCore, dentry: Dentry, access: int | None, modify: int | None, *, explicit: bool
) -> None:
    """Set times; who may write may set them to now."""
    task, inode = kernel.sched.current, dentry.inode
    if task.who("fsuid") != inode.uid and not task.capable(CAP_FOWNER):
        if explicit:
            raise KernelError(errno.EPERM, f"{dentry.path} belongs to uid {inode.uid}")
        need(task, inode, MAY_WRITE, dentry.path)
    inode.times.access = inode.times.access if access is None else access
    inode.times.modify = inode.times.modify if modify is None else modify
    _changed(kernel, inode)


def _changed(kernel: KernelCore, inode: Inode) -> None:
    from kmod_emu.fs.vfs import Vfs

    inode.times.change = kernel[Vfs].now()
    inode.changed()
    update_inode(kernel, inode)
