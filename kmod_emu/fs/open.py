"""Opening and closing files (fs/open.c, fs/file_table.c, fs/namei.c: path_openat)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import (
    FMODE_ATOMIC_POS,
    FMODE_CAN_READ,
    FMODE_CAN_WRITE,
    FMODE_LSEEK,
    FMODE_OPENED,
    FMODE_PATH,
    FMODE_PREAD,
    FMODE_PWRITE,
    FMODE_READ,
    FMODE_WRITE,
    FileOperations,
)
from kmod_emu.fs.guest_file import GuestFile, forget, update_inode
from kmod_emu.fs.inode import MAY_READ, MAY_WRITE, need, special
from kmod_emu.fs.namei import vfs_create
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_FOWNER
from kmod_emu.uapi.fcntl import (
    O_ACCMODE,
    O_ASYNC,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_EXCL,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
)
from kmod_emu.uapi.stat import S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG

if TYPE_CHECKING:
    from kmod_emu.fs.char_dev import CharDevices
    from kmod_emu.fs.file import File
    from kmod_emu.fs.inode import Dentry, Inode
    from kmod_emu.fs.pipe import Pipes
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

VALID_OPEN_FLAGS = 0o37777703
_PATH_FLAGS = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC
_FORGOTTEN = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC  # flags that only opening looks at


class SpecialOperations(FileOperations):
    """What opening a device, pipe or socket does: it finds the file's real operations (fs/inode.c)."""

    def __init__(self, kernel: KernelCore, devices: CharDevices, pipes: Pipes) -> None:
        super().__init__(kernel)
        self._devices, self._pipes = devices, pipes

    async def open(self, file: File) -> int:
        """By type."""
        if file.inode.is_type(S_IFCHR):
            return await self._devices.open(file)
        if file.inode.is_type(S_IFIFO):
            return await self._pipes.open_fifo(file)
        raise KernelError(errno.ENXIO, "block devices and sockets cannot be opened")


async def do_filp_open(
    kernel: KernelCore,
    task: Task,
    path: str,
    flags: int,
    mode: int = 0,
    start: Dentry | None = None,
    *,
    guest: bool = False,
) -> File:
    """Find or create a file and open it; `guest` code is to see its `struct file`, whatever it is.

    Raises:
        KernelError: As open(2) fails.
    """
    vfs = kernel[Vfs]
    flags &= VALID_OPEN_FLAGS
    if flags & O_PATH:
        flags &= _PATH_FLAGS
    if flags & O_TMPFILE & ~O_DIRECTORY:
        raise KernelError(errno.EOPNOTSUPP, "the file system has no unnamed files")
    if flags & O_CREAT and flags & O_DIRECTORY:
        pass  # the directory is refused below, anything else too
    follow = not flags & O_NOFOLLOW and not (flags & O_CREAT and flags & O_EXCL)
    place = vfs.walk(task, path, follow=follow, start=start)
    created = False
    if place.dentry is None and flags & O_CREAT:
        if place.slash:
            raise KernelError(errno.EISDIR, f"{path} would be a directory")
        dentry = vfs_create(task, vfs.fs(task), place, mode)
        created = True
    else:
        if place.slash and flags & O_CREAT:
            raise KernelError(errno.EISDIR, f"{path} would be a directory")
        dentry = place.found
        _check_found(dentry, flags, path)
        _may_open(task, dentry.inode, flags, path)
    file = vfs.new_file(dentry, flags, guest=guest)
    try:
        await do_dentry_open(file)
        if flags & O_TRUNC and not created and dentry.inode.is_type(S_IFREG):
            dentry.inode.truncate(0)
            update_inode(kernel, dentry.inode)
    except KernelError:
        if not task.dead:
            await fput(file)
        raise
    return file


def _check_found(dentry: Dentry, flags: int, path: str) -> None:
    inode = dentry.inode
    is_directory = inode.is_type(S_IFDIR)
    if flags & O_CREAT:
        if flags & O_EXCL:
            raise KernelError(errno.EEXIST, f"{path} exists")
        if is_directory:
            raise KernelError(errno.EISDIR, f"{path} is a directory")
    if flags & O_DIRECTORY and not is_directory:
        raise KernelError(errno.ENOTDIR, f"{path} is no directory")


def _may_open(task: Task, inode: Inode, flags: int, path: str) -> None:
    """fs/namei.c: may_open; O_PATH opens anything."""
    if flags & O_PATH:
        return
    wanted = (MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE)[flags & O_ACCMODE]
    if flags & O_TRUNC:
        wanted |= MAY_WRITE
    if inode.is_type(S_IFLNK):
        raise KernelError(errno.ELOOP, f"{path} is a symbolic link")
    if inode.is_type(S_IFDIR) and wanted & MAY_WRITE:
        raise KernelError(errno.EISDIR, f"{path} is a directory")
    need(task, inode, wanted, path)
    if flags & O_NOATIME and task.who("fsuid") != inode.uid and not task.capable(CAP_FOWNER):
        raise KernelError(errno.EPERM, "O_NOATIME is the owner's")


async def do_dentry_open(file: File) -> None:
    """Let the file's operations open it; afterwards it says what it can do (fs/open.c).

    Raises:
        KernelError: What the operations say; the caller closes the file.
    """
    inode, kernel = file.inode, file.kernel
    if file.mode & FMODE_PATH:
        file.mode = FMODE_PATH | FMODE_OPENED
        return
    if file.mode & FMODE_WRITE and not special(inode):
        if inode.writers < 0:
            raise KernelError(errno.ETXTBSY, "the file is being executed")
        inode.writers += 1
    mode = file.mode | FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE
    if inode.is_type(S_IFREG) or inode.is_type(S_IFDIR):
        mode |= FMODE_ATOMIC_POS
    file.mode = mode
    inode.check_open(file.flags)
    result = await file.op.open(file)
    if result > 0:
        kernel.warnings.warn_once("fs/open.c", 937, "", "do_dentry_open+0x36b/0x410")
        result = -errno.EINVAL
    if result:
        raise KernelError(-result, "the driver's open refused")
    mode, op = file.mode | FMODE_OPENED, file.op
    if mode & FMODE_READ and op.can(file, "read"):
        mode |= FMODE_CAN_READ
    if mode & FMODE_WRITE and op.can(file, "write"):
        mode |= FMODE_CAN_WRITE
    if not op.can(file, "llseek"):
        mode &= ~FMODE_LSEEK
    file.mode = mode
    flags = file.flags & ~_FORGOTTEN
    file.flags = flags
    if flags & O_DIRECT and not inode.is_type(S_IFIFO):
        raise KernelError(errno.EINVAL, "the file cannot be read directly")


async def filp_close(file: File) -> int:
    """A descriptor goes: flush, then one reference less (fs/open.c)."""
    result = 0
    if file.mode & FMODE_OPENED and not file.mode & FMODE_PATH:
        result = await file.op.flush(file)
    await fput(file)
    return result


async def fput(file: File) -> None:
    """One reference less; the last one releases the file (fs/file_table.c: __fput)."""
    file.count -= 1
    if file.count:
        return
    kernel, inode = file.kernel, file.inode
    vfs = kernel[Vfs]
    vfs.open_files.pop(file, None)
    mode = file.mode
    if mode & FMODE_OPENED and not mode & FMODE_PATH:
        if file.flags & O_ASYNC and file.op.can(file, "fasync"):
            await file.op.fasync(file, -1, 0)
        await file.op.release(file)
    if isinstance(file, GuestFile):
        await _put_driver(kernel, file, opened=bool(mode & FMODE_OPENED))
    if mode & FMODE_WRITE and not special(inode) and inode.writers > 0:
        inode.writers -= 1
    file.free()
    drop_inode(kernel, file.dentry)


async def _put_driver(kernel: KernelCore, file: GuestFile, *, opened: bool) -> None:
    from kmod_emu.fs.char_dev import CharDevices

    if file.inode.is_type(S_IFCHR):
        cdev = kernel.view("inode", file.inode.address).i_cdev
        if cdev and opened:
            await kernel[CharDevices].put(cdev)
    if file.fops:
        kernel.module_put(kernel.memory.read_u64(file.fops))


def drop_inode(kernel: KernelCore, dentry: Dentry) -> None:
    """Give back what guest memory holds of a name that is gone, once nobody has it open."""
    if not dentry.unhashed or any(file.dentry is dentry for file in kernel[Vfs].open_files):
        return
    forget(kernel, dentry)
    inode = dentry.inode
    if inode.nlink == 0 and all(file.inode is not inode for file in kernel[Vfs].open_files):
        from kmod_emu.fs.char_dev import CharDevices

        kernel[CharDevices].forget_inode(inode)
        forget(kernel, inode)


async def exit_files(kernel: KernelCore, task: Task) -> None:
    """A process ends: all its files are closed, unless another shares the table (kernel/exit.c)."""
    for file in kernel[Vfs].leave(task):
        await filp_close(file)
