"""Open files of modules in /proc (fs/proc/inode.c): the VFS calls these, these call the module.

An entry that was removed answers EIO to those who still have it open; its release has run then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import DEFAULT_POLLMASK, FMODE_LSEEK, FileOperations, Position
from kmod_emu.fs.guest_file import by_reference, iterate
from kmod_emu.fs.seq_file import (
    SeqFile,
    __seq_open_private,
    seq_lseek,
    seq_open,
    seq_release,
    seq_release_private,
    single_open,
    single_release,
)
from kmod_emu.kernel.activation import to_int, to_long
from kmod_emu.kernel.iov_iter import ITER_DEST
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.file import File
    from kmod_emu.fs.proc_generic import ProcEntry
    from kmod_emu.fs.select import Poll


def _entry(file: File) -> ProcEntry:
    entry: ProcEntry = file.inode.node  # type: ignore[attr-defined]
    return entry


class ProcOperations(FileOperations):
    """proc_reg_file_ops: every method is there; what the module left out is an error of its own."""

    def can(self, file: File, method: str) -> bool:
        """Seeking is the only thing that may be missing."""
        return method != "llseek" or _entry(file).kind != "ops" or bool(self._method(file, "proc_lseek"))

    def _method(self, file: File, name: str) -> int:
        entry = _entry(file)
        return self.kernel.view("proc_ops", entry.served).get(name) if entry.kind == "ops" else 0

    def _view(self, file: File) -> StructView:
        return self.kernel.view("file", file.address)

    def _seq(self, file: File) -> SeqFile:
        return SeqFile(self.kernel, self._view(file).private_data)

    def _alive(self, file: File, number: int = errno.EIO) -> None:
        if _entry(file).removed:
            raise KernelError(number, "the entry was removed from /proc")

    async def open(self, file: File) -> int:
        """proc_reg_open()."""
        entry, kernel = _entry(file), self.kernel
        self._alive(file, errno.ENOENT)
        result = 0
        if entry.kind == "single":
            result = single_open(kernel, self._view(file), entry.served, entry.data)
        elif entry.state_size:
            opened = __seq_open_private(kernel, self._view(file), entry.served, entry.state_size)
            result = 0 if opened else -errno.ENOMEM
            if opened and entry.kind == "net":
                kernel.memory.write_u64(opened, kernel.symbol("init_net"))
        elif entry.kind == "seq":
            result = seq_open(kernel, self._view(file), entry.served)
        else:
            if not self._method(file, "proc_lseek"):
                file.mode &= ~FMODE_LSEEK
            if method := self._method(file, "proc_open"):
                result = to_int(await kernel.call_guest(method, file.inode.address, file.address))
        if not result:
            entry.openers.append(file)
        return result

    async def release(self, file: File) -> None:
        """close_pdeo(): once, on the last close or when the entry goes."""
        entry, kernel = _entry(file), self.kernel
        if file not in entry.openers:
            return
        entry.openers.remove(file)
        inode, view = file.inode.address, self._view(file)
        if entry.kind == "single":
            single_release(kernel, inode, view)
        elif entry.state_size:
            seq_release_private(kernel, inode, view)
        elif entry.kind == "seq":
            seq_release(kernel, inode, view)
        elif method := self._method(file, "proc_release"):
            await kernel.call_guest(method, inode, file.address)

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """proc_reg_read(): EIO without a method."""
        self._alive(file)
        if _entry(file).kind != "ops":
            return await self._read_records(file, buf, count, pos)
        if method := self._method(file, "proc_read_iter"):
            return await iterate(self.kernel, method, file, ITER_DEST, [(buf, count)], pos)
        return await self._transfer(file, "proc_read", buf, count, pos)

    async def _read_records(self, file: File, buf: int, count: int, pos: Position) -> int:
        if not count:
            return 0
        place = buf

        def copy(data: bytes) -> int:
            nonlocal place
            copied = self.kernel.user.write(place, data)
            place += copied
            return copied

        copied = await self._seq(file).read(copy, count, pos.value)
        pos.value += copied
        return copied

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """proc_reg_write(): EIO without a method."""
        self._alive(file)
        return await self._transfer(file, "proc_write", buf, count, pos)

    async def _transfer(self, file: File, name: str, buf: int, count: int, pos: Position) -> int:
        method = self._method(file, name)
        if not method:
            raise KernelError(errno.EIO, f"the module has no {name}")
        with by_reference(self.kernel, pos) as place:
            return to_long(await self.kernel.call_guest(method, file.address, buf, count, place))

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """proc_reg_llseek()."""
        self._alive(file, errno.EINVAL)
        if _entry(file).kind != "ops":
            return await seq_lseek(self.kernel, self._view(file), offset, whence)
        method = self._method(file, "proc_lseek")
        return to_long(await self.kernel.call_guest(method, file.address, offset, whence))

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """proc_reg_unlocked_ioctl(): ENOTTY without a method."""
        self._alive(file, errno.ENOTTY)
        method = self._method(file, "proc_ioctl")
        if not method:
            raise KernelError(errno.ENOTTY, "the module has no proc_ioctl")
        return to_int(await self.kernel.call_guest(method, file.address, cmd, arg))

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """proc_reg_poll(): always ready without a method."""
        method = self._method(file, "proc_poll")
        if _entry(file).removed or not method:
            return DEFAULT_POLLMASK
        return await self.kernel.call_guest(method, file.address, table.guest(events)) & 0xFFFF_FFFF

    async def mmap(self, file: File, vma: int) -> int:
        """proc_reg_mmap(): EIO without a method."""
        self._alive(file)
        method = self._method(file, "proc_mmap")
        if not method:
            raise KernelError(errno.EIO, "the module has no proc_mmap")
        return to_int(await self.kernel.call_guest(method, file.address, vma))
