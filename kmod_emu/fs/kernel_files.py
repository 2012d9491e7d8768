"""Files as modules open and use them themselves (fs/open.c, fs/read_write.c, fs/file.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.fs.file import FMODE_CAN_READ, FMODE_CAN_WRITE, BufferedOperations, File
from kmod_emu.fs.open import do_filp_open, fput
from kmod_emu.fs.open import filp_close as close_file
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.activation import to_long
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.machine.memory import Access, PageFault
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_APPEND, O_CLOEXEC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def find(kernel: KernelCore, address: int) -> File:
    """The open file that a `struct file` is; a page fault if it is none."""
    for file in kernel[Vfs].open_files:
        if file.address == address:
            return file
    raise PageFault(address, Access.READ)


@export("struct file *filp_open(const char *filename, int flags, umode_t mode)")
async def filp_open(kernel: KernelCore, filename: str, flags: int, mode: int) -> int:
    """Open a file as the current task would; its struct file, or an error pointer."""
    task = kernel.sched.current
    file = await do_filp_open(kernel, task, filename, flags & 0xFFFF_FFFF, mode & 0o7777, guest=True)
    return file.address


@export("int filp_close(struct file *filp, fl_owner_t id)")
async def filp_close(kernel: KernelCore, filp: int, id: int) -> int:
    """Close it."""
    return await close_file(find(kernel, filp))


@export("void fput(struct file *file)", Fidelity.APPROXIMATE)
async def fput_file(kernel: KernelCore, file: int) -> None:
    """One reference less; the last one releases it at once, not when the task leaves the kernel."""
    await fput(find(kernel, file))


@export("struct file *fget(unsigned int fd)", Fidelity.APPROXIMATE)
def fget(kernel: KernelCore, fd: int) -> int:
    """The open file of a descriptor, with a reference; NULL if there is none, or if it is no driver's."""
    file = kernel[Vfs].files(kernel.sched.current).files.get(as_int(fd))
    if file is None or not file.address:
        return 0
    file.count += 1
    return file.address


def _buffered(file: File, mode: int) -> BufferedOperations:
    """EBADF without the mode; EINVAL for files that only user memory can be read from or written to."""
    if not file.mode & mode:
        raise KernelError(errno.EBADF if not file.mode & mode >> 17 else errno.EINVAL)
    if not isinstance(file.op, BufferedOperations):
        raise KernelError(errno.EINVAL, f"{file.dentry.path} has no read_iter and write_iter")
    return file.op


@export("ssize_t kernel_read(struct file *file, void *buf, size_t count, loff_t *pos)")
async def kernel_read(kernel: KernelCore, file: int, buf: int, count: int, pos: int) -> int:
    """Read into the kernel's memory at *pos, or at the file's position for NULL."""
    opened = find(kernel, file)
    place = to_long(kernel.memory.read_u64(pos)) if pos else opened.pos
    data = await _buffered(opened, FMODE_CAN_READ).get(opened, count, place)
    kernel.memory.write(buf, data)
    _moved(kernel, opened, pos, place + len(data))
    return len(data)


@export("ssize_t kernel_write(struct file *file, const void *buf, size_t count, loff_t *pos)")
async def kernel_write(kernel: KernelCore, file: int, buf: int, count: int, pos: int) -> int:
    """Write the kernel's memory at *pos, or at the file's position for NULL."""
    opened = find(kernel, file)
    place = to_long(kernel.memory.read_u64(pos)) if pos else opened.pos
    if opened.flags & O_APPEND:
        place = opened.inode.size
    taken = await _buffered(opened, FMODE_CAN_WRITE).put(opened, kernel.memory.read(buf, count), place)
    _moved(kernel, opened, pos, place + taken)
    return taken


def _moved(kernel: KernelCore, file: File, pos: int, place: int) -> None:
    if pos:
        kernel.memory.write_u64(pos, place)
    else:
        file.pos = place


@export("int vfs_fsync(struct file *file, int datasync)")
async def vfs_fsync(kernel: KernelCore, file: int, datasync: int) -> int:
    """Bring it to stable storage."""
    opened = find(kernel, file)
    return await opened.op.fsync(opened, 0, (1 << 63) - 1, datasync)


# --- descriptors ----------------------------------------------------------------------------------------


@export("int get_unused_fd_flags(unsigned flags)")
def get_unused_fd_flags(kernel: KernelCore, flags: int) -> int:
    """Reserve the lowest free descriptor of the current task."""
    return kernel[Vfs].files(kernel.sched.current).reserve(cloexec=bool(flags & O_CLOEXEC))


@export("void put_unused_fd(unsigned int fd)")
def put_unused_fd(kernel: KernelCore, fd: int) -> None:
    """Give a reserved descriptor back."""
    kernel[Vfs].files(kernel.sched.current).unreserve(as_int(fd))


@export("void fd_install(unsigned int fd, struct file *file)")
def fd_install(kernel: KernelCore, fd: int, file: int) -> None:
    """Let a reserved descriptor lead to a file; the reference goes with it."""
    files = kernel[Vfs].files(kernel.sched.current)
    cloexec = as_int(fd) in files.close_on_exec
    files.unreserve(as_int(fd))
    files.put(as_int(fd), find(kernel, file), cloexec=cloexec)
