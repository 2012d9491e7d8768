"""What drivers use to write their file operations (fs/libfs.c, fs/read_write.c, fs/open.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import (
    FMODE_ATOMIC_POS,
    FMODE_LSEEK,
    FMODE_PREAD,
    FMODE_PWRITE,
    FMODE_STREAM,
    FMODE_UNSIGNED_OFFSET,
    LONG_MAX,
)
from kmod_emu.kernel.activation import to_long
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

# --- buffers --------------------------------------------------------------------------------------------


def _window(kernel: KernelCore, count: int, ppos: int, available: int) -> tuple[int, int]:
    """Where a copy begins and how long it may be; EINVAL for a negative position."""
    pos = to_long(kernel.memory.read_u64(ppos))
    if pos < 0:
        raise KernelError(errno.EINVAL, "the position is negative")
    if pos >= available or not count:
        return pos, 0
    return pos, min(count, available - pos)


def _moved(kernel: KernelCore, ppos: int, pos: int, copied: int) -> int:
    if not copied:
        return -errno.EFAULT
    kernel.memory.write_u64(ppos, pos + copied)
    return copied


@export(
    "ssize_t simple_read_from_buffer(void __user *to, size_t count, loff_t *ppos, const void *from,"
    " size_t available)"
)
def simple_read_from_buffer(
    kernel: KernelCore, to: int, count: int, ppos: int, from_: int, available: int
) -> int:
    """Copy from a kernel buffer to the user at *ppos (fs/libfs.c)."""
    pos, size = _window(kernel, count, ppos, available)
    if not size:
        return 0
    copied = kernel.user.write(to, kernel.memory.read(from_ + pos, size))
    return _moved(kernel, ppos, pos, copied)


@export(
    "ssize_t simple_write_to_buffer(void *to, size_t available, loff_t *ppos, const void __user *from,"
    " size_t count)"
)
def simple_write_to_buffer(
    kernel: KernelCore, to: int, available: int, ppos: int, from_: int, count: int
) -> int:
    """Copy from the user to a kernel buffer at *ppos (fs/libfs.c)."""
    pos, size = _window(kernel, count, ppos, available)
    if not size:
        return 0
    data = kernel.user.read(from_, size)
    kernel.memory.write(to + pos, data + bytes(size - len(data)))
    return _moved(kernel, ppos, pos, len(data))


@export(
    "ssize_t memory_read_from_buffer(void *to, size_t count, loff_t *ppos, const void *from,"
    " size_t available)"
)
def memory_read_from_buffer(
    kernel: KernelCore, to: int, count: int, ppos: int, from_: int, available: int
) -> int:
    """Copy from a kernel buffer to kernel memory at *ppos (fs/libfs.c)."""
    pos = to_long(kernel.memory.read_u64(ppos))
    if pos < 0:
        return -errno.EINVAL
    if pos >= available:
        return 0
    size = min(count, available - pos)
    kernel.memory.write(to, kernel.memory.read(from_ + pos, size))
    kernel.memory.write_u64(ppos, pos + size)
    return size


# --- positions ------------------------------------------------------------------------------------------


class _GuestPosition:
    """What the functions below see of a `struct file`."""

    def __init__(self, kernel: KernelCore, file: int) -> None:
        self.view = kernel.view("file", file)
        self.pos = to_long(self.view.f_pos)
        self._kernel = kernel

    @property
    def size(self) -> int:
        """i_size of the file's host inode."""
        return to_long(self._kernel.view("inode", self.view.f_inode).i_size)

    def set(self, offset: int, largest: int) -> int:
        """vfs_setpos()."""
        if offset < 0 and not self.view.f_mode & FMODE_UNSIGNED_OFFSET:
            return -errno.EINVAL
        if offset > largest:
            return -errno.EINVAL
        if offset != self.pos:
            self.view.f_pos = offset
            if self.view.has("f_version"):
                self.view.f_version = 0
        return offset


def _seek(kernel: KernelCore, file: int, offset: int, whence: int, largest: int, end: int) -> int:
    """generic_file_llseek_size()."""
    place = _GuestPosition(kernel, file)
    if whence == SEEK_END:
        offset += end
    elif whence == SEEK_CUR:
        if not offset:
            return place.pos
        offset += place.pos
    elif whence in (SEEK_DATA, SEEK_HOLE):
        if not 0 <= offset < end:
            return -errno.ENXIO
        offset = offset if whence == SEEK_DATA else end
    return place.set(offset, largest)


@export("loff_t vfs_setpos(struct file *file, loff_t offset, loff_t maxsize)")
def vfs_setpos(kernel: KernelCore, file: int, offset: int, maxsize: int) -> int:
    """Set the position if it may be that (fs/read_write.c)."""
    return _GuestPosition(kernel, file).set(offset, maxsize)


@export(
    "loff_t generic_file_llseek_size(struct file *file, loff_t offset, int whence, loff_t maxsize,"
    " loff_t eof)"
)
def generic_file_llseek_size(
    kernel: KernelCore, file: int, offset: int, whence: int, maxsize: int, eof: int
) -> int:
    """Llseek of a file whose size and largest size are given (fs/read_write.c)."""
    return _seek(kernel, file, offset, whence, maxsize, eof)


@export("loff_t generic_file_llseek(struct file *file, loff_t offset, int whence)")
def generic_file_llseek(kernel: KernelCore, file: int, offset: int, whence: int) -> int:
    """Llseek by the inode's size (fs/read_write.c)."""
    return _seek(kernel, file, offset, whence, LONG_MAX, _GuestPosition(kernel, file).size)


@export("loff_t fixed_size_llseek(struct file *file, loff_t offset, int whence, loff_t size)")
def fixed_size_llseek(kernel: KernelCore, file: int, offset: int, whence: int, size: int) -> int:
    """Llseek of a device of known size (fs/read_write.c)."""
    if whence > SEEK_END:
        return -errno.EINVAL
    return _seek(kernel, file, offset, whence, size, size)


@export("loff_t no_seek_end_llseek(struct file *file, loff_t offset, int whence)")
def no_seek_end_llseek(kernel: KernelCore, file: int, offset: int, whence: int) -> int:
    """Llseek without an end (fs/read_write.c)."""
    return no_seek_end_llseek_size(kernel, file, offset, whence, LONG_MAX)


@export("loff_t no_seek_end_llseek_size(struct file *file, loff_t offset, int whence, loff_t size)")
def no_seek_end_llseek_size(kernel: KernelCore, file: int, offset: int, whence: int, size: int) -> int:
    """Llseek without an end, up to a size (fs/read_write.c)."""
    if whence not in (SEEK_SET, SEEK_CUR):
        return -errno.EINVAL
    return _seek(kernel, file, offset, whence, size, 0)


@export("loff_t noop_llseek(struct file *file, loff_t offset, int whence)")
def noop_llseek(kernel: KernelCore, file: int, offset: int, whence: int) -> int:
    """Llseek that succeeds and stays (fs/read_write.c)."""
    return _GuestPosition(kernel, file).pos


@export("loff_t no_llseek(struct file *file, loff_t offset, int whence)")
def no_llseek(kernel: KernelCore, file: int, offset: int, whence: int) -> int:
    """Llseek of what has no positions (fs/read_write.c, before 6.0)."""
    return -errno.ESPIPE


@export("loff_t default_llseek(struct file *file, loff_t offset, int whence)")
def default_llseek(kernel: KernelCore, file: int, offset: int, whence: int) -> int:
    """Llseek that most drivers use (fs/read_write.c)."""
    place = _GuestPosition(kernel, file)
    size = place.size
    if whence == SEEK_END:
        offset += size
    elif whence == SEEK_CUR:
        if not offset:
            return place.pos
        offset += place.pos
    elif whence in (SEEK_DATA, SEEK_HOLE):
        if offset >= size:
            return -errno.ENXIO
        offset = offset if whence == SEEK_DATA else size
    return place.set(offset, LONG_MAX)


# --- open -----------------------------------------------------------------------------------------------


@export("int simple_open(struct inode *inode, struct file *file)")
def simple_open(kernel: KernelCore, inode: int, file: int) -> int:
    """Hand i_private to the file (fs/libfs.c)."""
    private = kernel.view("inode", inode).i_private
    if private:
        kernel.view("file", file).private_data = private
    return 0


@export("int nonseekable_open(struct inode *inode, struct file *filp)")
def nonseekable_open(kernel: KernelCore, inode: int, filp: int) -> int:
    """Say that the file has no positions (fs/open.c)."""
    kernel.view("file", filp).f_mode &= ~(FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE)
    return 0


@export("int stream_open(struct inode *inode, struct file *filp)")
def stream_open(kernel: KernelCore, inode: int, filp: int) -> int:
    """Say that the file has no position at all (fs/open.c)."""
    view = kernel.view("file", filp)
    view.f_mode = view.f_mode & ~(FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE | FMODE_ATOMIC_POS) | FMODE_STREAM
    return 0


@export("int generic_file_open(struct inode *inode, struct file *filp)")
def generic_file_open(kernel: KernelCore, inode: int, filp: int) -> int:
    """Any size will do for a 64-bit program (fs/open.c)."""
    return 0


@export("int noop_fsync(struct file *file, loff_t start, loff_t end, int datasync)")
def noop_fsync(kernel: KernelCore, file: int, start: int, end: int, datasync: int) -> int:
    """Nothing to bring to storage (fs/libfs.c)."""
    return 0


@export("long compat_ptr_ioctl(struct file *file, unsigned int cmd, unsigned long arg)")
async def compat_ptr_ioctl(kernel: KernelCore, file: StructView, cmd: int, arg: int) -> int:
    """A `compat_ioctl` for drivers whose argument is always a pointer (fs/ioctl.c)."""
    method = int(kernel.view("file_operations", file.f_op).unlocked_ioctl)
    if not method:
        return -errno.ENOIOCTLCMD
    return to_long(await kernel.call_guest(method, file.address, cmd, arg & 0xFFFF_FFFF))
