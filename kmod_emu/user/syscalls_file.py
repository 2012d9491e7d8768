"""System calls on open files (fs/open.c, fs/read_write.c, fs/readdir.c, fs/sync.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.fs.file import FMODE_WRITE, BufferedOperations, Position
from kmod_emu.fs.guest_file import update_inode
from kmod_emu.fs.inode import Dentry
from kmod_emu.fs.open import VALID_OPEN_FLAGS, do_dentry_open, do_filp_open, filp_close
from kmod_emu.fs.pipe import Pipes
from kmod_emu.fs.ramfs import RamInode
from kmod_emu.fs.read_write import (
    MAX_RW_COUNT,
    file_position,
    ksys_pread,
    ksys_pwrite,
    ksys_read,
    ksys_write,
    vfs_iter,
    vfs_llseek,
)
from kmod_emu.fs.readdir import getdents64
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import (
    AT_FDCWD,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_LARGEFILE,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
)
from kmod_emu.uapi.stat import S_IALLUGO, S_IFDIR, S_IFREG
from kmod_emu.user import arguments
from kmod_emu.user.arguments import signed

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_ERESTART = (512, 513, 514, 516)
_LONG_MAX = (1 << 63) - 1


@syscall(2)
async def sys_open(kernel: KernelCore, filename: int, flags: int, mode: int = 0) -> int:
    """Open a path."""
    return await sys_openat(kernel, AT_FDCWD, filename, flags, mode)


@syscall(257)
async def sys_openat(kernel: KernelCore, dfd: int, filename: int, flags: int, mode: int = 0) -> int:
    """Open a path that may begin at a descriptor (fs/open.c: do_sys_openat2)."""
    task = kernel.sched.current
    flags = (flags & VALID_OPEN_FLAGS) | O_LARGEFILE
    name = arguments.path(kernel, filename)
    files = kernel[Vfs].files(task)
    files.free_fd()
    start = arguments.start(kernel, dfd, name)
    file = await do_filp_open(kernel, task, name, flags, mode & S_IALLUGO, start)
    return files.install(file, cloexec=bool(flags & O_CLOEXEC))


@syscall(85)
async def sys_creat(kernel: KernelCore, filename: int, mode: int) -> int:
    """Create or empty a file, and open it for writing."""
    return await sys_openat(kernel, AT_FDCWD, filename, O_CREAT | O_WRONLY | O_TRUNC, mode)


@syscall(3)
async def sys_close(kernel: KernelCore, fd: int) -> int:
    """Close a descriptor; what a driver's flush says is returned."""
    result = await filp_close(kernel[Vfs].files(kernel.sched.current).take(fd))
    return -errno.EINTR if -result in _ERESTART else result


@syscall(436)
async def sys_close_range(kernel: KernelCore, first: int, last: int, flags: int) -> int:
    """Close all descriptors of a range, or mark them (CLOSE_RANGE_CLOEXEC)."""
    first, last = first & 0xFFFF_FFFF, last & 0xFFFF_FFFF
    if flags & ~4 or first > last:
        raise KernelError(errno.EINVAL)
    files = kernel[Vfs].files(kernel.sched.current)
    for fd in [fd for fd in files.files if first <= fd <= last]:
        if flags & 4:
            files.set_close_on_exec(fd, True)
        else:
            await filp_close(files.take(fd))
    return 0


@syscall(0)
async def sys_read(kernel: KernelCore, fd: int, buf: int, count: int) -> int:
    """Read at the file's position."""
    return await ksys_read(arguments.file(kernel, fd), buf, count)


@syscall(1)
async def sys_write(kernel: KernelCore, fd: int, buf: int, count: int) -> int:
    """Write at the file's position."""
    return await ksys_write(arguments.file(kernel, fd), buf, count)


def _offset(offset: int) -> int:
    offset = signed(offset)
    if offset < 0:
        raise KernelError(errno.EINVAL, "the offset is negative")
    return offset


@syscall(17)
async def sys_pread64(kernel: KernelCore, fd: int, buf: int, count: int, pos: int) -> int:
    """Read at an offset."""
    offset = _offset(pos)
    return await ksys_pread(arguments.file(kernel, fd), buf, count, offset)


@syscall(18)
async def sys_pwrite64(kernel: KernelCore, fd: int, buf: int, count: int, pos: int) -> int:
    """Write at an offset."""
    offset = _offset(pos)
    return await ksys_pwrite(arguments.file(kernel, fd), buf, count, offset)


async def _vector(kernel: KernelCore, fd: int, vec: int, vlen: int, *, write: bool) -> int:
    file = arguments.file(kernel, fd)
    pos = file_position(file)
    result = await vfs_iter(file, vec, vlen, pos, write=write)
    if result >= 0:
        file.pos = pos.value
    return result


@syscall(19)
async def sys_readv(kernel: KernelCore, fd: int, vec: int, vlen: int) -> int:
    """Read into several buffers."""
    return await _vector(kernel, fd, vec, vlen, write=False)


@syscall(20)
async def sys_writev(kernel: KernelCore, fd: int, vec: int, vlen: int) -> int:
    """Write from several buffers."""
    return await _vector(kernel, fd, vec, vlen, write=True)


@syscall(295)
async def sys_preadv(kernel: KernelCore, fd: int, vec: int, vlen: int, low: int, high: int = 0) -> int:
    """Read into several buffers at an offset."""
    pos = Position(_offset(low))
    return await vfs_iter(arguments.file(kernel, fd), vec, vlen, pos, write=False)


@syscall(296)
async def sys_pwritev(kernel: KernelCore, fd: int, vec: int, vlen: int, low: int, high: int = 0) -> int:
    """Write from several buffers at an offset."""
    pos = Position(_offset(low))
    return await vfs_iter(arguments.file(kernel, fd), vec, vlen, pos, write=True)


@syscall(8)
async def sys_lseek(kernel: KernelCore, fd: int, offset: int, whence: int) -> int:
    """Move the position."""
    return await vfs_llseek(arguments.file(kernel, fd), signed(offset), whence & 0xFFFF_FFFF)


@syscall(217)
async def sys_getdents64(kernel: KernelCore, fd: int, dirent: int, count: int) -> int:
    """List a directory."""
    file = arguments.file(kernel, fd)
    if not file.op.can(file, "entries"):
        raise KernelError(errno.ENOTDIR, "the descriptor is no directory")
    if file.dentry.unhashed:
        raise KernelError(errno.ENOENT, "the directory was removed")
    before = file.pos
    records = await getdents64(file, count & 0xFFFF_FFFF)
    if records and kernel.user.write(dirent, records) != len(records):
        file.pos = before
        raise KernelError(errno.EFAULT)
    return len(records)


@syscall(74)
async def sys_fsync(kernel: KernelCore, fd: int) -> int:
    """Bring a file to stable storage."""
    return await _fsync(kernel, fd, 0)


@syscall(75)
async def sys_fdatasync(kernel: KernelCore, fd: int) -> int:
    """Bring a file's contents to stable storage."""
    return await _fsync(kernel, fd, 1)


async def _fsync(kernel: KernelCore, fd: int, datasync: int) -> int:
    file = arguments.file(kernel, fd)
    if not file.op.can(file, "fsync"):
        raise KernelError(errno.EINVAL, "the file has no fsync method")
    return await file.op.fsync(file, 0, _LONG_MAX, datasync)


@syscall(162)
async def sys_sync(kernel: KernelCore) -> int:
    """Bring all to stable storage: there is none."""
    return 0


@syscall(77)
async def sys_ftruncate(kernel: KernelCore, fd: int, length: int) -> int:
    """Cut an open file."""
    size = signed(length)
    if size < 0:
        raise KernelError(errno.EINVAL, "the length is negative")
    file = arguments.file(kernel, fd)
    if not file.inode.is_type(S_IFREG) or not file.mode & FMODE_WRITE:
        raise KernelError(errno.EINVAL, "no regular file that is open for writing")
    file.inode.truncate(size)
    update_inode(kernel, file.inode)
    return 0


@syscall(285)
async def sys_fallocate(kernel: KernelCore, fd: int, mode: int, offset: int, length: int) -> int:
    """Reserve room: files in memory have none to reserve."""
    file = arguments.file(kernel, fd)
    if not file.mode & FMODE_WRITE:
        raise KernelError(errno.EBADF)
    raise KernelError(errno.EOPNOTSUPP if file.inode.is_type(S_IFREG) else errno.ENODEV)


@syscall(40)
async def sys_sendfile(kernel: KernelCore, out_fd: int, in_fd: int, offset: int, count: int) -> int:
    """Copy between files inside the kernel; the source must be one whose contents Python holds."""
    source = arguments.file(kernel, in_fd)
    if not source.readable:
        raise KernelError(errno.EBADF)
    target = arguments.file(kernel, out_fd)
    if not target.writable:
        raise KernelError(errno.EBADF)
    if not isinstance(source.op, BufferedOperations) or not isinstance(target.op, BufferedOperations):
        raise KernelError(errno.EINVAL, "these files cannot be spliced")
    position = source.pos
    if offset:
        position = _offset(int.from_bytes(kernel.user.copy_from(offset, 8), "little"))
    data = await source.op.get(source, min(count, MAX_RW_COUNT), position)
    taken = await target.op.put(target, data, target.pos)
    target.pos += taken
    if offset:
        arguments.give(kernel, offset, (position + taken).to_bytes(8, "little"))
    else:
        source.pos += taken
    return taken


@syscall(22)
async def sys_pipe(kernel: KernelCore, fildes: int) -> int:
    """A pipe: the reading end, the writing end."""
    return await sys_pipe2(kernel, fildes, 0)


@syscall(293)
async def sys_pipe2(kernel: KernelCore, fildes: int, flags: int) -> int:
    """A pipe, with O_NONBLOCK or O_CLOEXEC."""
    if flags & ~(O_NONBLOCK | O_CLOEXEC | O_DIRECT):
        raise KernelError(errno.EINVAL)
    vfs, pipes = kernel[Vfs], kernel[Pipes]
    files = vfs.files(kernel.sched.current)
    dentry, pipe = pipes.create(vfs.anonymous_dev())
    descriptors = []
    for access in (O_RDONLY, O_WRONLY):
        file = vfs.new_file(dentry, access | flags & (O_NONBLOCK | O_DIRECT))
        pipes.attach(file, pipe)
        file.mode |= 0xE_0000
        descriptors.append(files.install(file, cloexec=bool(flags & O_CLOEXEC)))
    data = b"".join(fd.to_bytes(4, "little") for fd in descriptors)
    if kernel.user.write(fildes, data) != len(data):
        for fd in descriptors:
            await filp_close(files.take(fd))
        raise KernelError(errno.EFAULT)
    return 0


@syscall(319)
async def sys_memfd_create(kernel: KernelCore, name: int, flags: int) -> int:
    """A file without a name."""
    if flags & ~0x1F:
        raise KernelError(errno.EINVAL)
    text = kernel.user.strndup(name, 250)
    return await memfd(kernel, text.decode("utf-8", "surrogateescape"), O_RDWR, cloexec=bool(flags & 1))


async def memfd(
    kernel: KernelCore, name: str, flags: int, data: bytes = b"", *, cloexec: bool = False
) -> int:
    """A descriptor of a file in memory, with contents."""
    vfs = kernel[Vfs]
    task = kernel.sched.current
    inode = RamInode(vfs.dev, S_IFREG | 0o777, task.who("fsuid"), task.who("fsgid"))
    inode.data += data
    inode.nlink = 0
    dentry = Dentry(f"memfd:{name}", None, inode)
    dentry.unhashed = True
    file = vfs.new_file(dentry, flags | O_LARGEFILE)
    await do_dentry_open(file)
    return vfs.files(task).install(file, cloexec=cloexec)


@syscall(81)
async def sys_fchdir(kernel: KernelCore, fd: int) -> int:
    """Make an open directory the working directory."""
    task = kernel.sched.current
    dentry = kernel[Vfs].files(task).get(fd, path=True).dentry
    if not dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.ENOTDIR, f"descriptor {as_int(fd)} is no directory")
    kernel[Vfs].fs(task).cwd = dentry
    return 0
