"""Open files: `struct file` and what can be done with one (include/linux/fs.h).

`FileOperations` is `struct file_operations` in Python. A kind of file overrides what it can do; what it
leaves out counts as a missing method, and the VFS answers for it. `GuestOperations` (guest_file.py) is the
kind whose methods are functions in guest memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_APPEND, O_PATH, SEEK_CUR, SEEK_END, SEEK_SET
from kmod_emu.uapi.stat import S_IFREG

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Dentry, Entry
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

FMODE_READ, FMODE_WRITE, FMODE_LSEEK, FMODE_PREAD, FMODE_PWRITE = 1, 2, 4, 8, 16
FMODE_UNSIGNED_OFFSET, FMODE_PATH, FMODE_ATOMIC_POS = 0x2000, 0x4000, 0x8000
FMODE_CAN_READ, FMODE_CAN_WRITE, FMODE_OPENED, FMODE_CREATED = 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000
FMODE_STREAM = 0x20_0000
LONG_MAX = (1 << 63) - 1

EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLNVAL = 1, 2, 4, 8, 16, 32
EPOLLRDNORM, EPOLLWRNORM = 0x40, 0x100
DEFAULT_POLLMASK = EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM


class File:
    """An open file description, which descriptors of several processes may share.

    Attributes:
        dentry: The name it was opened by.
        flags: As given to open(2), and changed by fcntl(2).
        mode: What it may be used for, FMODE_*.
        pos: Where read(2) and write(2) go on.
        op: What it can do.
        count: References; the last one to go closes it.
        private: What its operations keep.
        address: Of its `struct file` in guest memory, 0 for files that guest code does not see.
    """

    address = 0
    owner = 0  # whom F_SETOWN named

    def __init__(self, kernel: KernelCore, dentry: Dentry, flags: int) -> None:
        self.kernel, self.dentry, self.inode = kernel, dentry, dentry.inode
        self.flags = flags
        self.mode = FMODE_PATH if flags & O_PATH else (flags & O_ACCMODE) + 1 & 3
        self.pos = 0
        self.op: FileOperations = self.inode.fop
        self.count = 1
        self.private: object = None

    @property
    def readable(self) -> bool:
        """Whether it is open for reading."""
        return bool(self.mode & FMODE_READ)

    @property
    def writable(self) -> bool:
        """Whether it is open for writing."""
        return bool(self.mode & FMODE_WRITE)

    @property
    def regular(self) -> bool:
        """Whether it is a regular file."""
        return self.inode.is_type(S_IFREG)

    def free(self) -> None:
        """The last reference is gone."""


class Position:
    """The `loff_t *` that a read or write gets and moves.

    Attributes:
        address: Where guest code that is handed it keeps it; 0 for a position of Python's own.
    """

    __slots__ = ("address", "value")

    def __init__(self, value: int, address: int = 0) -> None:
        self.value, self.address = value, address


class FileOperations:
    """What an open file can do; methods not overridden are missing ones."""

    serves_guest = False  # whether opening a device leads on to operations in guest memory

    def __init__(self, kernel: KernelCore) -> None:
        self.kernel = kernel

    def can(self, file: File, method: str) -> bool:
        """Whether there is a method of that name: `read`, `write`, `llseek`, `ioctl`, `poll`, ..."""
        return getattr(type(self), method) is not getattr(FileOperations, method)

    async def open(self, file: File) -> int:
        """Prepare a file just opened; 0 or a negative errno."""
        return 0

    async def flush(self, file: File) -> int:
        """A descriptor of it is closed; close(2) returns what this returns."""
        return 0

    async def release(self, file: File) -> None:
        """The last reference is gone."""

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Copy to user memory at `buf`; the number of bytes, or a negative errno."""
        raise KernelError(errno.EINVAL, "the file has no read method")

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Copy from user memory at `buf`; the number of bytes, or a negative errno."""
        raise KernelError(errno.EINVAL, "the file has no write method")

    async def read_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """Read into several pieces of user memory with one call."""
        raise KernelError(errno.EINVAL, "the file has no read_iter method")

    async def write_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """Write from several pieces of user memory with one call."""
        raise KernelError(errno.EINVAL, "the file has no write_iter method")

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Move the position; the new one, or a negative errno."""
        raise KernelError(errno.ESPIPE)

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """Whatever the driver understands; its `int`."""
        raise KernelError(errno.ENOTTY, "the file has no ioctl method")

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """What the file is ready for, EPOLL*; the queues to wait on are added to the table."""
        return DEFAULT_POLLMASK

    async def mmap(self, file: File, vma: int) -> int:
        """Prepare the mapping described by the guest's struct vm_area_struct."""
        raise KernelError(errno.ENODEV, "the file has no mmap method")

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """Bring it to stable storage."""
        raise KernelError(errno.EINVAL, "the file has no fsync method")

    async def fasync(self, file: File, fd: int, on: int) -> int:
        """Send SIGIO, or no longer."""
        return 0

    async def entries(self, file: File) -> list[Entry]:
        """What a directory lists, all at once."""
        raise KernelError(errno.ENOTDIR, "this is no directory")


class BufferedOperations(FileOperations):
    """Files whose contents Python holds: derive, and give `get` and, where it can be written, `put`."""

    def can(self, file: File, method: str) -> bool:
        """Reading and writing are there where `get` and `put` are."""
        own = {"read": "get", "write": "put"}.get(method)
        if own:
            return getattr(type(self), own) is not getattr(BufferedOperations, own)
        return super().can(file, method)

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """At most `count` bytes at a position."""
        raise KernelError(errno.EINVAL, "the file cannot be read")

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """Write; how many bytes were taken."""
        raise KernelError(errno.EINVAL, "the file cannot be written")

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Copy to the user what `get` gives."""
        data = await self.get(file, count, pos.value)
        copied = copy_out(self.kernel, buf, data)
        pos.value += copied
        return copied

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Give `put` what the user has."""
        data = self.kernel.user.read(buf, count)
        if count and not data:
            return -errno.EFAULT
        if file.flags & O_APPEND:
            pos.value = file.inode.size
        taken = await self.put(file, data, pos.value)
        pos.value += taken
        return taken

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """As the VFS does for files of a known size (fs/read_write.c: generic_file_llseek)."""
        return seek(file, offset, whence, file.inode.size)


def copy_out(kernel: KernelCore, buf: int, data: bytes) -> int:
    """Copy to user memory as far as it goes; EFAULT where not even one byte does."""
    copied = kernel.user.write(buf, data)
    if data and not copied:
        raise KernelError(errno.EFAULT, f"the buffer at {buf:#x} is not writable")
    return copied


def seek(file: File, offset: int, whence: int, size: int, largest: int = LONG_MAX) -> int:
    """Set the position (fs/read_write.c: generic_file_llseek_size).

    Raises:
        KernelError: EINVAL, a negative position or no such `whence`; ENXIO, data sought beyond the end.
    """
    if whence == SEEK_CUR and offset == 0:
        return file.pos
    if whence in (SEEK_SET, SEEK_CUR, SEEK_END):
        position = offset + (0, file.pos, size)[whence]
    elif offset >= size or offset < 0:
        raise KernelError(errno.ENXIO, "there is no data behind the end")
    else:
        position = offset if whence == 3 else size
    if not 0 <= position <= largest and not file.mode & FMODE_UNSIGNED_OFFSET:
        raise KernelError(errno.EINVAL, f"the position would be {position}")
    file.pos = position
    return position
