"""/dev/null and its neighbours, served by Python (drivers/char/mem.c, random.c, kernel/printk/printk.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import EPOLLIN, EPOLLRDNORM, BufferedOperations, FileOperations, Position
from kmod_emu.fs.select import WaitQueue
from kmod_emu.kernel.misc import random_bytes
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.uapi.stat import S_IFCHR, mkdev

if TYPE_CHECKING:
    from kmod_emu.fs.char_dev import CharDevices
    from kmod_emu.fs.file import File
    from kmod_emu.fs.select import Poll
    from kmod_emu.fs.vfs import Vfs
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.logbuffer import Record


class _Null(FileOperations):
    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The end, always."""
        return 0

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Taken and forgotten."""
        return count

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Always at the start."""
        file.pos = 0
        return 0


class _Zero(_Null):
    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Zeros."""
        cleared = self.kernel.user.clear(buf, count)
        if count and not cleared:
            raise KernelError(errno.EFAULT)
        return cleared


class _Full(_Zero):
    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """No room, ever."""
        return -errno.ENOSPC


class _Random(BufferedOperations):
    async def get(self, file: File, count: int, pos: int) -> bytes:
        """Random bytes."""
        return random_bytes(self.kernel, count)

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """Mixed in, that is, ignored."""
        return len(data)

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Stays where it is."""
        return file.pos


class _Console(FileOperations):
    """A terminal that nobody sits at: it ends at once, and what is written is an event."""

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The end."""
        return 0

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Shown to whoever listens."""
        data = self.kernel.user.read(buf, count)
        if count and not data:
            raise KernelError(errno.EFAULT)
        self.kernel.events.emit("console", data=data)
        return len(data)


class _Kmsg(FileOperations):
    """/dev/kmsg: one record a read; what is written is logged (kernel/printk/printk.c: devkmsg_read)."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self._readers = WaitQueue()
        kernel.printk.news = lambda: self._readers.wake(kernel)

    def _next(self, file: File) -> Record | None:
        following = file.private
        assert isinstance(following, int)
        return next((r for r in self.kernel.printk.readable() if r.sequence >= following), None)

    async def open(self, file: File) -> int:
        """From the oldest record on."""
        file.private = 0
        return 0

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The next record; waits for one."""
        record = self._next(file)
        if record is None and file.flags & O_NONBLOCK:
            return -errno.EAGAIN
        while record is None:
            await self._readers.wait(self.kernel, lambda: self._next(file) is not None)
            record = self._next(file)
        head = f"{record.level},{record.sequence},{record.time_ns // 1000},-;"
        text = f"{head}{record.kmsg()}\n".encode()
        file.private = record.sequence + 1
        if len(text) > count:
            return -errno.EINVAL
        return self.kernel.user.write(buf, text) or -errno.EFAULT

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """Readable while there are records."""
        table.add(self._readers)
        return EPOLLIN | EPOLLRDNORM if self._next(file) else 0

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Log a line; `<n>` in front is the level."""
        if count > 1024 - 32:
            return -errno.EINVAL
        data = self.kernel.user.copy_from(buf, count)
        level = 4
        if data[:1] == b"<" and data[2:3] == b">" and data[1:2].isdigit():
            level, data = int(data[1:2]) & 7, data[3:]
        self.kernel.printk.emit(data if data.endswith(b"\n") else data + b"\n", level)
        return count

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """To the first record, or behind the last."""
        if offset:
            return -errno.ESPIPE
        file.private = 0 if whence == 0 else self.kernel.printk.sequence
        return 0


# name -> (major, minor, permissions, operations)
_DEVICES: dict[str, tuple[int, int, int, type[FileOperations]]] = {
    "null": (1, 3, 0o666, _Null),
    "zero": (1, 5, 0o666, _Zero),
    "full": (1, 7, 0o666, _Full),
    "random": (1, 8, 0o666, _Random),
    "urandom": (1, 9, 0o666, _Random),
    "kmsg": (1, 11, 0o644, _Kmsg),
    "tty": (5, 0, 0o666, _Console),
    "console": (5, 1, 0o600, _Console),
}

# Majors of drivers that Debian builds into its kernel: none of them does anything here, but their numbers
# are taken, so a module gets the dynamic major it would get there.
_BUILT_IN = (
    (1, 0, 256, "mem"), (4, 0, 1, "/dev/vc/0"), (4, 1, 63, "tty"), (4, 64, 4, "ttyS"), (5, 0, 1, "/dev/tty"),
    (5, 1, 1, "/dev/console"), (5, 2, 1, "/dev/ptmx"), (7, 0, 256, "vcs"), (10, 0, 256, "misc"),
    (13, 0, 1024, "input"), (29, 0, 256, "fb"), (128, 0, 1, "ptm"), (136, 0, 1, "pts"), (153, 0, 256, "spi"),
    (247, 0, 1, "cxl"), (248, 0, 1, "bsg"), (249, 0, 1, "ptp"), (250, 0, 1, "pps"), (251, 0, 1, "rtc"),
    (252, 0, 1, "dax"), (253, 0, 1, "tpm"), (254, 0, 1, "gpiochip"),
)  # fmt: skip


def register(kernel: KernelCore, devices: CharDevices) -> None:
    """Take the numbers and serve the devices."""
    for number, baseminor, count, name in _BUILT_IN:
        devices.reserve(number, baseminor, count, name)
    for number, minor, _, operations in _DEVICES.values():
        devices.add(operations(kernel), mkdev(number, minor), 1)


def make_nodes(vfs: Vfs) -> None:
    """Their nodes in /dev."""
    for name, (number, minor, permissions, _) in _DEVICES.items():
        vfs.make(f"dev/{name}", S_IFCHR | permissions, mkdev(number, minor))
