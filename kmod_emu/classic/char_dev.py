"""Character devices of Linux 2.4: a table of 255 rows (fs/devices.c).

A row is what register_chrdev() was given: a name and a pointer to the driver's `struct file_operations`.
Opening a device file looks its major number up there, and the driver's functions do the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.abi.structs import StructView
from kmod_emu.classic.structs import STRUCTS
from kmod_emu.drivers.table import Driver, operations_in
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.file import FileOperations, Position
from kmod_emu.kernel.activation import to_long
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import major, minor, mkdev

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.fs.file import File
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

MAX_CHRDEV = 255
_BUSY = -1  # stands for operations that are Python's


class Row(NamedTuple):
    """One driver."""

    name: str
    fops: int


class _Open(NamedTuple):
    """The driver's side of an open file: its structs in guest memory, and the functions."""

    file: StructView
    inode: StructView
    fops: StructView


class ClassicCharDevices:
    """`chrdevs`, and the operations of all files that lead there."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        devices = kernel[CharDevices]
        served = {major(probe.dev) for chain in devices.probes for probe in chain}
        self._python = {region.major: region.name for region in devices if region.major in served}
        self.rows: dict[int, Row] = {}
        # Python's own devices have smaller ranges and come first.
        devices.add(DriverOperations(kernel, self), mkdev(1, 0), mkdev(MAX_CHRDEV - 1, 0))

    def register(self, number: int, name: str, fops: int) -> int:
        """register_chrdev(): a free major for 0, else 0.

        Raises:
            KernelError: EINVAL, there is no such row; EBUSY, another driver has it.
        """
        if number == 0:
            free = (row for row in range(MAX_CHRDEV - 1, 0, -1) if self._fops(row) == 0)
            number = next(free, 0)
            if not number:
                raise KernelError(errno.EBUSY, "all rows are taken")
            result = number
        else:
            if number >= MAX_CHRDEV:
                raise KernelError(errno.EINVAL, f"majors end at {MAX_CHRDEV - 1}")
            if self._fops(number) not in (0, fops):
                raise KernelError(errno.EBUSY, f"the major {number} is another driver's")
            result = 0
        self.rows[number] = Row(name, fops)
        self._kernel.events.emit("register_chrdev", name=name, major=number, minors=256)
        return result

    def unregister(self, number: int, name: str) -> None:
        """unregister_chrdev(): the name must be the one it was registered under.

        Raises:
            KernelError: EINVAL.
        """
        row = self.rows.get(number)
        if row is None or row.name != name:
            raise KernelError(errno.EINVAL, f"{name} has not the major {number}")
        del self.rows[number]

    def _fops(self, number: int) -> int:
        if number in self._python:
            return _BUSY
        return self.rows[number].fops if number in self.rows else 0

    async def find(self, number: int) -> int:
        """get_chrfops(): the driver's operations, 0 for none; a module may be asked for first."""
        if not 0 < number < MAX_CHRDEV:
            return 0
        if number not in self.rows:
            await self._kernel.request_module(f"char-major-{number}")
        return self.rows[number].fops if number in self.rows else 0

    def text(self) -> str:
        """The part of /proc/devices on character devices."""
        names = {**self._python, **{number: row.name for number, row in self.rows.items()}}
        return "".join(f"{number:3d} {name}\n" for number, name in sorted(names.items()))

    def drivers(self) -> list[Driver]:
        """The rows, with the function behind each operation."""
        return [
            Driver(number, 0, 255, row.name, operations_in(self._kernel, row.fops))
            for number, row in sorted(self.rows.items())
        ]

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[number, *row] for number, row in self.rows.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.rows = {number: Row(name, fops) for number, name, fops in state}


class DriverOperations(FileOperations):
    """What a driver's `struct file_operations` of 2.4 holds, called for an open file."""

    _MEMBERS = ("llseek", "read", "write", "poll", "ioctl", "fsync")

    def __init__(self, kernel: KernelCore, devices: ClassicCharDevices) -> None:
        super().__init__(kernel)
        self._devices = devices

    def can(self, file: File, method: str) -> bool:
        """Whether the driver gave a function for it."""
        return method in self._MEMBERS and bool(_opened(file).fops.get(method))

    async def open(self, file: File) -> int:
        """chrdev_open(): the driver's module gets a user more, then its own open is called.

        Raises:
            KernelError: ENODEV, no driver has that major.
        """
        kernel, number = self.kernel, major(file.inode.rdev)
        fops = await self._devices.find(number)
        if not fops or not kernel.try_module_get(kernel.memory.read_u64(fops)):
            raise KernelError(errno.ENODEV, f"no driver has the major {number}")
        size = STRUCTS["file"].size
        place = kernel.heap.kmalloc(size + STRUCTS["inode"].size)
        if not place:
            kernel.module_put(kernel.memory.read_u64(fops))
            raise KernelError(errno.ENOMEM)
        opened = _Open(
            StructView(kernel.memory, STRUCTS["file"], place),
            StructView(kernel.memory, STRUCTS["inode"], place + size),
            StructView(kernel.memory, STRUCTS["file_operations"], fops),
        )
        opened.inode.i_ino, opened.inode.i_mode = file.inode.ino, file.inode.mode
        opened.inode.i_rdev = number << 8 | minor(file.inode.rdev) & 0xFF
        opened.file.f_op, opened.file.f_count, opened.file.f_mode = fops, 1, file.mode & 3
        opened.file.f_flags = file.flags
        file.private = opened
        result = 0
        if opened.fops.open:
            result = await kernel.call_guest_int(opened.fops.open, opened.inode.address, place)
        if result:
            self._forget(file)
        return result

    def _forget(self, file: File) -> None:
        opened = _opened(file)
        self.kernel.module_put(opened.fops.owner)
        self.kernel.heap.kfree(opened.file.address)
        file.private = None

    async def flush(self, file: File) -> int:
        """The driver's flush, if it has one."""
        return await self._call(file, "flush") if _opened(file).fops.flush else 0

    async def release(self, file: File) -> None:
        """The driver's release, if it has one; then its module has a user less."""
        opened = _opened(file)
        if opened.fops.release:
            await self.kernel.call_guest_int(opened.fops.release, opened.inode.address, opened.file.address)
        self._forget(file)

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The driver's read."""
        return await self._transfer(file, "read", buf, count, pos)

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """The driver's write."""
        return await self._transfer(file, "write", buf, count, pos)

    async def _transfer(self, file: File, name: str, buf: int, count: int, pos: Position) -> int:
        view = _opened(file).file
        view.f_pos = pos.value
        result = await self._call_long(file, name, buf, count, view.addressof("f_pos"))
        pos.value = view.signed("f_pos")
        return result

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """The driver's llseek."""
        view = _opened(file).file
        view.f_pos = file.pos
        result = await self._call_long(file, "llseek", offset, whence)
        file.pos = view.signed("f_pos")
        return result

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """The driver's ioctl, which gets the inode too."""
        opened = _opened(file)
        return await self.kernel.call_guest_int(
            opened.fops.ioctl, opened.inode.address, opened.file.address, cmd, arg
        )

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """The driver's poll, without a table to wait on."""
        return await self._call(file, "poll", 0) & 0xFFFF_FFFF

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """The driver's fsync, without a dentry."""
        return await self._call(file, "fsync", 0, datasync)

    async def _call(self, file: File, name: str, *arguments: int) -> int:
        opened = _opened(file)
        return await self.kernel.call_guest_int(opened.fops.get(name), opened.file.address, *arguments)

    async def _call_long(self, file: File, name: str, *arguments: int) -> int:
        opened = _opened(file)
        return to_long(await self.kernel.call_guest(opened.fops.get(name), opened.file.address, *arguments))


def _opened(file: File) -> _Open:
    assert isinstance(file.private, _Open)
    return file.private


def register_chrdev(kernel: KernelCore, number: int, name: str, fops: int) -> int:
    """Enter a driver into the table (fs/devices.c)."""
    return kernel[ClassicCharDevices].register(number, name, fops)


def unregister_chrdev(kernel: KernelCore, number: int, name: str) -> int:
    """Take a driver out of the table (fs/devices.c)."""
    kernel[ClassicCharDevices].unregister(number, name)
    return 0


EXPORTS: dict[str, Callable[..., Any]] = {
    "int register_chrdev(unsigned int major, const char *name, struct file_operations *fops)": (
        register_chrdev
    ),
    "int unregister_chrdev(unsigned int major, const char *name)": unregister_chrdev,
}
