"""Reading, writing and moving in open files, with the checks of the VFS in its order (fs/read_write.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import (
    FMODE_CAN_READ,
    FMODE_CAN_WRITE,
    FMODE_LSEEK,
    FMODE_PREAD,
    FMODE_PWRITE,
    FMODE_READ,
    FMODE_STREAM,
    FMODE_UNSIGNED_OFFSET,
    FMODE_WRITE,
    Position,
)
from kmod_emu.fs.guest_file import GuestFile
from kmod_emu.kernel.uaccess import access_ok
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.fs.file import File

MAX_RW_COUNT = 0x7FFF_F000
UIO_MAXIOV = 1024
_LONG_MAX = (1 << 63) - 1
_IOVEC = struct.Struct("<QQ")


async def vfs_read(file: File, buf: int, count: int, pos: Position) -> int:
    """Read through the file's method; what a driver returns is believed.

    Raises:
        KernelError: EBADF, EINVAL (no method; a bad position or count), EFAULT.
    """
    mode = file.mode
    if not mode & FMODE_READ:
        raise KernelError(errno.EBADF, "the descriptor is not open for reading")
    if not mode & FMODE_CAN_READ:
        raise KernelError(errno.EINVAL, "the file has no read method")
    result = await file.op.read(file, buf, rw_verify_area(file, buf, count, pos), pos)
    if result > count and isinstance(file, GuestFile):
        _report_excess(file, "read", result, count)
    return result


async def vfs_write(file: File, buf: int, count: int, pos: Position) -> int:
    """Write through the file's method; what a driver returns is believed.

    Raises:
        KernelError: EBADF, EINVAL (no method; a bad position or count), EFAULT.
    """
    mode = file.mode
    if not mode & FMODE_WRITE:
        raise KernelError(errno.EBADF, "the descriptor is not open for writing")
    if not mode & FMODE_CAN_WRITE:
        raise KernelError(errno.EINVAL, "the file has no write method")
    result = await file.op.write(file, buf, rw_verify_area(file, buf, count, pos), pos)
    if result > count and isinstance(file, GuestFile):
        _report_excess(file, "write", result, count)
    return result


def rw_verify_area(file: File, buf: int, count: int, pos: Position) -> int:
    """The count, cut to what one call may move; EFAULT, EINVAL, EOVERFLOW."""
    if not access_ok(buf, count):
        raise KernelError(errno.EFAULT, f"{buf:#x} is no user address")
    return _verify_position(file, count, pos)


def _verify_position(file: File, count: int, pos: Position) -> int:
    if count > _LONG_MAX:
        raise KernelError(errno.EINVAL, "the count is negative")
    if not 0 <= pos.value <= _LONG_MAX - count and not file.mode & (FMODE_STREAM | FMODE_UNSIGNED_OFFSET):
        wrong = "would pass the largest one" if pos.value >= 0 else "is negative"
        raise KernelError(errno.EINVAL, f"the position {wrong}")
    return min(count, MAX_RW_COUNT)


def _report_excess(file: GuestFile, method: str, result: int, count: int) -> None:
    """A driver says it moved more than it was asked to: Linux passes that on, and so does this."""
    kernel = file.kernel
    place = kernel.describe(kernel.sched.called)
    sentence = f"{place} returned {result} for a {method} of {count} bytes"
    kernel.events.emit("driver_returned_more", sentence=sentence)
    kernel.findings.note("driver", sentence)


def file_position(file: File) -> Position:
    """The position that read(2) and write(2) use and move; streams have none."""
    return Position(0 if file.mode & FMODE_STREAM else file.pos)


async def ksys_read(file: File, buf: int, count: int) -> int:
    """read(2): at the file's position, which moves unless the method fails."""
    pos = file_position(file)
    result = await vfs_read(file, buf, count, pos)
    if result >= 0 and not file.mode & FMODE_STREAM:
        file.pos = pos.value
    return result


async def ksys_write(file: File, buf: int, count: int) -> int:
    """write(2): at the file's position, which moves unless the method fails."""
    pos = file_position(file)
    result = await vfs_write(file, buf, count, pos)
    if result >= 0 and not file.mode & FMODE_STREAM:
        file.pos = pos.value
    return result


async def ksys_pread(file: File, buf: int, count: int, offset: int) -> int:
    """pread64(2)."""
    _check_offset(file, offset, FMODE_PREAD)
    return await vfs_read(file, buf, count, Position(offset))


async def ksys_pwrite(file: File, buf: int, count: int, offset: int) -> int:
    """pwrite64(2)."""
    _check_offset(file, offset, FMODE_PWRITE)
    return await vfs_write(file, buf, count, Position(offset))


def _check_offset(file: File, offset: int, needed: int) -> None:
    if not file.mode & needed:
        raise KernelError(errno.ESPIPE, "the file has no positions")


async def vfs_llseek(file: File, offset: int, whence: int) -> int:
    """lseek(2)."""
    if whence > 4:
        raise KernelError(errno.EINVAL, f"whence {whence} is none")
    if not file.mode & FMODE_LSEEK:
        raise KernelError(errno.ESPIPE, "the file has no positions")
    return await file.op.llseek(file, offset, whence)


# --- vectors --------------------------------------------------------------------------------------------


def import_iovec(file: File, address: int, count: int) -> list[tuple[int, int]]:
    """The pieces of a readv or writev, cut to MAX_RW_COUNT bytes; EINVAL, EFAULT (lib/iov_iter.c)."""
    if count > UIO_MAXIOV:
        raise KernelError(errno.EINVAL, f"{count} pieces are more than {UIO_MAXIOV}")
    raw = file.kernel.user.copy_from(address, count * _IOVEC.size)
    pieces, total = [], 0
    for base, length in _IOVEC.iter_unpack(raw):
        if length > _LONG_MAX:
            raise KernelError(errno.EINVAL, "a piece's length is negative")
        if not access_ok(base, length):
            raise KernelError(errno.EFAULT, f"{base:#x} is no user address")
        length = min(length, MAX_RW_COUNT - total)
        total += length
        pieces.append((base, length))
    return pieces


async def vfs_iter(file: File, address: int, count: int, pos: Position, *, write: bool) -> int:
    """readv(2), writev(2): one call with all pieces, or one for each where the method cannot take more."""
    needed, able = (FMODE_WRITE, FMODE_CAN_WRITE) if write else (FMODE_READ, FMODE_CAN_READ)
    pieces = import_iovec(file, address, count)
    if not file.mode & needed:
        raise KernelError(errno.EBADF, "the descriptor is not open this way")
    if not file.mode & able:
        raise KernelError(errno.EINVAL, "the file has no such method")
    if not sum(length for _, length in pieces):
        return 0
    _verify_position(file, sum(length for _, length in pieces), pos)
    if file.op.can(file, "write_iter" if write else "read_iter"):
        return await (file.op.write_iter if write else file.op.read_iter)(file, pieces, pos)
    method, done = file.op.write if write else file.op.read, 0
    for base, length in pieces:
        try:
            result = await method(file, base, length, pos)
        except KernelError as error:
            if done:
                break
            raise error
        if result < 0:
            return done or result
        done += result
        if result != length:
            break
    return done
