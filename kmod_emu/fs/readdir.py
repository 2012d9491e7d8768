"""Directories as open files (fs/readdir.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import FileOperations
from kmod_emu.fs.inode import Entry
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFDIR

if TYPE_CHECKING:
    from kmod_emu.fs.file import File

_DIRENT64 = struct.Struct("<QqHB")  # linux_dirent64 up to d_name


class DirectoryOperations(FileOperations):
    """Directories, whatever their file system."""

    async def read(self, file: File, buf: int, count: int, pos: Any) -> int:
        """Directories are listed, not read."""
        return -errno.EISDIR

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Only back to the start, or nowhere."""
        if whence > 1:
            return -errno.EINVAL
        position = offset + (file.pos if whence else 0)
        if position < 0:
            return -errno.EINVAL
        file.pos = position
        return position

    async def entries(self, file: File) -> list[Entry]:
        """`.`, `..` and the names."""
        dentry = file.dentry
        head = [Entry(".", dentry.inode.ino, S_IFDIR), Entry("..", dentry.above.inode.ino, S_IFDIR)]
        return head + dentry.inode.entries(dentry)

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """Nothing to do."""
        return 0


async def getdents64(file: File, count: int) -> bytes:
    """The records that fit in `count` bytes, from the file's position on.

    Raises:
        KernelError: ENOTDIR; EINVAL, not even one fits.
    """
    if file.pos == 0 or file.private is None:
        file.private = await file.op.entries(file)
    entries = file.private
    assert isinstance(entries, list)
    records, space = b"", count
    while file.pos < len(entries):
        entry = entries[file.pos]
        name = entry.name.encode("utf-8", "surrogateescape") + b"\0"
        size = (_DIRENT64.size + len(name) + 7) & ~7
        if size > space:
            if not records:
                raise KernelError(errno.EINVAL, "the buffer is too small for one record")
            break
        head = _DIRENT64.pack(entry.ino, file.pos + 1, size, entry.kind >> 12)
        records += (head + name).ljust(size, b"\0")
        file.pos += 1
        space -= size
    return records


def names(records: bytes) -> list[str]:
    """The names in what getdents64(2) gave."""
    found, offset = [], 0
    while offset < len(records):
        size = _DIRENT64.unpack_from(records, offset)[2]
        raw = records[offset + _DIRENT64.size : offset + size].partition(b"\0")[0]
        found.append(raw.decode("utf-8", "surrogateescape"))
        offset += size
    return found
