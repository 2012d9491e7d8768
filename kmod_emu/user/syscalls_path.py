"""System calls on names: making, removing, changing (fs/namei.c, fs/open.c, fs/d_path.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs import namei
from kmod_emu.fs.attributes import chmod_common, chown_common, utimes_common
from kmod_emu.fs.guest_file import update_inode
from kmod_emu.fs.inode import MAY_EXEC, MAY_WRITE, need
from kmod_emu.fs.open import drop_inode
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW
from kmod_emu.uapi.stat import S_IFDIR, S_IFREG, new_decode_dev
from kmod_emu.user import arguments
from kmod_emu.user.arguments import signed

if TYPE_CHECKING:
    from kmod_emu.fs.namei import Place
    from kmod_emu.kernel.kernel import KernelCore

_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def _new(kernel: KernelCore, dfd: int, pathname: int) -> Place:
    """Where a name is to be made: a link at the end is not followed."""
    return arguments.walk(kernel, dfd, arguments.path(kernel, pathname), follow=False)


@syscall(133)
async def sys_mknod(kernel: KernelCore, filename: int, mode: int, dev: int) -> int:
    """Make a device file, a named pipe or an empty file."""
    return await sys_mknodat(kernel, AT_FDCWD, filename, mode, dev)


@syscall(259)
async def sys_mknodat(kernel: KernelCore, dfd: int, filename: int, mode: int, dev: int) -> int:
    """mknod(2) from a descriptor."""
    task = kernel.sched.current
    namei.may_mknod(mode & 0xFFFF)
    place = _new(kernel, dfd, filename)
    namei.vfs_mknod(task, kernel[Vfs].fs(task), place, mode & 0xFFFF, new_decode_dev(dev & 0xFFFF_FFFF))
    return 0


@syscall(83)
async def sys_mkdir(kernel: KernelCore, pathname: int, mode: int) -> int:
    """Make a directory."""
    return await sys_mkdirat(kernel, AT_FDCWD, pathname, mode)


@syscall(258)
async def sys_mkdirat(kernel: KernelCore, dfd: int, pathname: int, mode: int) -> int:
    """mkdir(2) from a descriptor."""
    task = kernel.sched.current
    namei.vfs_mkdir(task, kernel[Vfs].fs(task), _new(kernel, dfd, pathname), mode)
    return 0


@syscall(84)
async def sys_rmdir(kernel: KernelCore, pathname: int) -> int:
    """Remove an empty directory."""
    return _rmdir(kernel, AT_FDCWD, pathname)


def _rmdir(kernel: KernelCore, dfd: int, pathname: int) -> int:
    name = arguments.path(kernel, pathname)
    place = arguments.walk(kernel, dfd, name, follow=False)
    dentry = namei.vfs_rmdir(kernel.sched.current, place, name.rstrip("/").rpartition("/")[2])
    drop_inode(kernel, dentry)
    return 0


@syscall(87)
async def sys_unlink(kernel: KernelCore, pathname: int) -> int:
    """Remove a name."""
    return await sys_unlinkat(kernel, AT_FDCWD, pathname, 0)


@syscall(263)
async def sys_unlinkat(kernel: KernelCore, dfd: int, pathname: int, flag: int) -> int:
    """Remove a name, of a directory with AT_REMOVEDIR."""
    if flag & ~AT_REMOVEDIR:
        raise KernelError(errno.EINVAL)
    if flag:
        return _rmdir(kernel, dfd, pathname)
    dentry = namei.vfs_unlink(kernel.sched.current, _new(kernel, dfd, pathname))
    drop_inode(kernel, dentry)
    return 0


@syscall(88)
async def sys_symlink(kernel: KernelCore, oldname: int, newname: int) -> int:
    """Make a symbolic link."""
    return await sys_symlinkat(kernel, oldname, AT_FDCWD, newname)


@syscall(266)
async def sys_symlinkat(kernel: KernelCore, oldname: int, newdfd: int, newname: int) -> int:
    """symlink(2) from a descriptor."""
    target = arguments.path(kernel, oldname)
    namei.vfs_symlink(kernel.sched.current, _new(kernel, newdfd, newname), target)
    return 0


@syscall(86)
async def sys_link(kernel: KernelCore, oldname: int, newname: int) -> int:
    """One more name of a file."""
    return await sys_linkat(kernel, AT_FDCWD, oldname, AT_FDCWD, newname, 0)


@syscall(265)
async def sys_linkat(
    kernel: KernelCore, olddfd: int, oldname: int, newdfd: int, newname: int, flags: int
) -> int:
    """link(2) from descriptors."""
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise KernelError(errno.EINVAL)
    keep = flags & AT_EMPTY_PATH | (0 if flags & AT_SYMLINK_FOLLOW else AT_SYMLINK_NOFOLLOW)
    old = arguments.at(kernel, olddfd, oldname, keep)
    namei.vfs_link(kernel.sched.current, old, _new(kernel, newdfd, newname))
    update_inode(kernel, old.inode)
    return 0


@syscall(82)
async def sys_rename(kernel: KernelCore, oldname: int, newname: int) -> int:
    """Move a name."""
    return await sys_renameat2(kernel, AT_FDCWD, oldname, AT_FDCWD, newname, 0)


@syscall(264)
async def sys_renameat(kernel: KernelCore, olddfd: int, oldname: int, newdfd: int, newname: int) -> int:
    """rename(2) from descriptors."""
    return await sys_renameat2(kernel, olddfd, oldname, newdfd, newname, 0)


@syscall(316)
async def sys_renameat2(
    kernel: KernelCore, olddfd: int, oldname: int, newdfd: int, newname: int, flags: int
) -> int:
    """rename(2) from descriptors; of the flags, RENAME_NOREPLACE."""
    if flags & ~1:
        raise KernelError(errno.EINVAL, "exchanging names is not supported")
    old, new = _new(kernel, olddfd, oldname), _new(kernel, newdfd, newname)
    gone = namei.vfs_rename(kernel.sched.current, old, new, flags)
    if gone is not None:
        drop_inode(kernel, gone)
    return 0


@syscall(89)
async def sys_readlink(kernel: KernelCore, pathname: int, buf: int, bufsiz: int) -> int:
    """Where a symbolic link points."""
    return await sys_readlinkat(kernel, AT_FDCWD, pathname, buf, bufsiz)


@syscall(267)
async def sys_readlinkat(kernel: KernelCore, dfd: int, pathname: int, buf: int, bufsiz: int) -> int:
    """readlink(2) from a descriptor."""
    if not 0 < bufsiz < 1 << 31:
        raise KernelError(errno.EINVAL)
    dentry = arguments.at(kernel, dfd, pathname, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    target = dentry.inode.readlink().encode("utf-8", "surrogateescape")[:bufsiz]
    arguments.give(kernel, buf, target)
    return len(target)


@syscall(80)
async def sys_chdir(kernel: KernelCore, filename: int) -> int:
    """Change the working directory."""
    task = kernel.sched.current
    dentry = kernel[Vfs].walk(task, arguments.path(kernel, filename)).found
    if not dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.ENOTDIR, f"{dentry.path} is no directory")
    need(task, dentry.inode, MAY_EXEC, dentry.path)
    kernel[Vfs].fs(task).cwd = dentry
    return 0


@syscall(79)
async def sys_getcwd(kernel: KernelCore, buf: int, size: int) -> int:
    """The path of the working directory, with its NUL; its length."""
    cwd = kernel[Vfs].fs(kernel.sched.current).cwd
    if cwd.unhashed:
        raise KernelError(errno.ENOENT, "the working directory was removed")
    raw = cwd.path.encode("utf-8", "surrogateescape") + b"\0"
    if len(raw) > size:
        raise KernelError(errno.ERANGE)
    arguments.give(kernel, buf, raw)
    return len(raw)


@syscall(95)
async def sys_umask(kernel: KernelCore, mask: int) -> int:
    """Which permissions new files lack; the mask before."""
    fs = kernel[Vfs].fs(kernel.sched.current)
    old, fs.umask = fs.umask, mask & 0o777
    return old


@syscall(76)
async def sys_truncate(kernel: KernelCore, pathname: int, length: int) -> int:
    """Cut a file."""
    size = signed(length)
    if size < 0:
        raise KernelError(errno.EINVAL, "the length is negative")
    task = kernel.sched.current
    dentry = kernel[Vfs].walk(task, arguments.path(kernel, pathname)).found
    if dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.EISDIR)
    if not dentry.inode.is_type(S_IFREG):
        raise KernelError(errno.EINVAL, "no regular file")
    need(task, dentry.inode, MAY_WRITE, dentry.path)
    dentry.inode.truncate(size)
    update_inode(kernel, dentry.inode)
    return 0


@syscall(90)
async def sys_chmod(kernel: KernelCore, filename: int, mode: int) -> int:
    """Change permissions."""
    return await sys_fchmodat(kernel, AT_FDCWD, filename, mode)


@syscall(268)
async def sys_fchmodat(kernel: KernelCore, dfd: int, filename: int, mode: int) -> int:
    """chmod(2) from a descriptor."""
    chmod_common(kernel, arguments.at(kernel, dfd, filename, 0), mode)
    return 0


@syscall(91)
async def sys_fchmod(kernel: KernelCore, fd: int, mode: int) -> int:
    """Change the permissions of an open file."""
    chmod_common(kernel, arguments.file(kernel, fd).dentry, mode)
    return 0


@syscall(92)
async def sys_chown(kernel: KernelCore, filename: int, user: int, group: int) -> int:
    """Change the owner."""
    return await sys_fchownat(kernel, AT_FDCWD, filename, user, group, 0)


@syscall(94)
async def sys_lchown(kernel: KernelCore, filename: int, user: int, group: int) -> int:
    """Change the owner, of a link itself."""
    return await sys_fchownat(kernel, AT_FDCWD, filename, user, group, AT_SYMLINK_NOFOLLOW)


@syscall(260)
async def sys_fchownat(kernel: KernelCore, dfd: int, filename: int, user: int, group: int, flag: int) -> int:
    """chown(2) from a descriptor."""
    if flag & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(errno.EINVAL)
    chown_common(kernel, arguments.at(kernel, dfd, filename, flag), user & 0xFFFF_FFFF, group & 0xFFFF_FFFF)
    return 0


@syscall(93)
async def sys_fchown(kernel: KernelCore, fd: int, user: int, group: int) -> int:
    """Change the owner of an open file."""
    chown_common(kernel, arguments.file(kernel, fd).dentry, user & 0xFFFF_FFFF, group & 0xFFFF_FFFF)
    return 0


@syscall(280)
async def sys_utimensat(kernel: KernelCore, dfd: int, filename: int, utimes: int, flags: int) -> int:
    """Set the times of access and change; NULL is now."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise KernelError(errno.EINVAL)
    now = kernel[Vfs].now()
    times: list[int | None] = [now, now]
    if utimes:
        raw = struct.unpack("<4q", kernel.user.copy_from(utimes, 32))
        for index, (seconds, nanoseconds) in enumerate((raw[:2], raw[2:])):
            if nanoseconds == _UTIME_OMIT:
                times[index] = None
            elif nanoseconds != _UTIME_NOW:
                if not 0 <= nanoseconds < 1_000_000_000:
                    raise KernelError(errno.EINVAL)
                times[index] = seconds * 1_000_000_000 + nanoseconds
    dentry = arguments.at(kernel, dfd, filename, flags) if filename else arguments.file(kernel, dfd).dentry
    utimes_common(kernel, dentry, times[0], times[1], explicit=bool(utimes))
    return 0
