"""Miscellaneous devices: those of major 10 (drivers/char/misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.device import create_device, device_destroy
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.file import FileOperations
from kmod_emu.fs.guest_file import GuestFile, GuestOperations
from kmod_emu.fs.procfs import Procfs
from kmod_emu.fs.tree import Node
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import minor, mkdev

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

MISC_MAJOR, MISC_DYNAMIC_MINOR = 10, 255
_DYNAMIC_MINORS = 128

# Devices of Debian's kernel, newest first: nothing serves them here, but their minors are taken.
_BUILT_IN = {125: "cpu_dma_latency", 1: "psaux", 183: "hw_random", 228: "hpet", 126: "userfaultfd",
             231: "snapshot", 127: "vga_arbiter"}  # fmt: skip


class Misc(FileOperations):
    """The registered miscellaneous devices; opening one finds its driver."""

    serves_guest = True

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self._operations = GuestOperations(kernel)
        self.list: list[int] = []  # struct miscdevice, newest first
        kernel[CharDevices].add(self, mkdev(MISC_MAJOR, 0), 256)
        kernel[Procfs].files["misc"] = Node(0o444, read=self._proc)
        cls = kernel.heap.kmalloc(kernel.profile.struct("class").size)
        name = kernel.heap.kmalloc(8)
        kernel.memory.write(name, b"misc\0")
        kernel.view("class", cls).set("name", name)
        kernel.view("class", cls).devnode = kernel.symbol("misc_devnode")
        self.cls = cls
        kernel[Devices].make_class(cls)

    def view(self, misc: int) -> StructView:
        """A typed view."""
        return self.kernel.view("miscdevice", misc)

    def _proc(self, task: Task) -> str:
        """/proc/misc."""
        own = [
            (self.view(misc).minor, kernel_text(self.kernel, self.view(misc).get("name")))
            for misc in self.list
        ]
        return "".join(f"{number:3d} {name}\n" for number, name in [*own, *_BUILT_IN.items()])

    def taken(self, number: int) -> bool:
        """Whether a minor is somebody's."""
        return number in _BUILT_IN or any(self.view(misc).minor == number for misc in self.list)

    def free_minor(self) -> int:
        """A dynamic minor, 127 first; EBUSY."""
        for number in range(_DYNAMIC_MINORS - 1, -1, -1):
            if not self.taken(number):
                return number
        raise KernelError(errno.EBUSY, "all minors of miscellaneous devices are taken")

    def _find(self, number: int) -> int:
        return next((misc for misc in self.list if self.view(misc).minor == number), 0)

    async def open(self, file: File) -> int:
        """misc_open()."""
        kernel, number = self.kernel, minor(file.inode.rdev)
        misc = self._find(number)
        if not misc:
            await kernel.request_module(f"char-major-{MISC_MAJOR}-{number}")
            misc = self._find(number)
        fops = self.view(misc).fops if misc else 0
        if not fops or not kernel.try_module_get(kernel.memory.read_u64(fops)):
            raise KernelError(errno.ENODEV, f"no miscellaneous device has the minor {number}")
        assert isinstance(file, GuestFile)
        kernel.view("file", file.address).private_data = misc
        file.fops, file.op = fops, self._operations
        return await file.op.open(file)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self.list)

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.list = list(state)


def kernel_text(kernel: KernelCore, address: int) -> str:
    """A C string; "(null)" for NULL."""
    return kernel.memory.read_text(address) if address else "(null)"


@export("char *misc_devnode(struct device *dev, umode_t *mode)")
def misc_devnode(kernel: KernelCore, dev: int, mode: int) -> int:
    """Name and mode that the driver gave."""
    misc = kernel.view("miscdevice", kernel.view("device", dev).driver_data)
    if mode and misc.mode:
        kernel.memory.write_u16(mode, misc.mode)
    if not misc.nodename:
        return 0
    raw = kernel.memory.read_cstring(misc.nodename) + b"\0"
    place = kernel.heap.kmalloc(len(raw))
    kernel.memory.write(place, raw)
    return place


@export("int misc_register(struct miscdevice *misc)")
async def misc_register(kernel: KernelCore, misc: int) -> int:
    """Register a device with a minor of its own or a dynamic one."""
    devices = kernel[Misc]
    view = devices.view(misc)
    lists.init(kernel.memory, view.addressof("list"))
    dynamic = view.minor == MISC_DYNAMIC_MINOR
    if dynamic:
        view.minor = devices.free_minor()
    elif devices.taken(view.minor):
        return -errno.EBUSY
    devt = mkdev(MISC_MAJOR, view.minor)
    name = kernel.memory.read_cstring(view.get("name"))
    device = await create_device(kernel, devices.cls, view.parent, devt, misc, view.groups, name)
    if device >= 1 << 63 and device >= (1 << 64) - 4095:
        if dynamic:
            view.minor = MISC_DYNAMIC_MINOR
        return device - (1 << 64)
    view.this_device = device
    devices.list.insert(0, misc)
    return 0


@export("void misc_deregister(struct miscdevice *misc)")
async def misc_deregister(kernel: KernelCore, misc: int) -> None:
    """Remove a device."""
    devices = kernel[Misc]
    if misc not in devices.list:
        kernel.warnings.warn("drivers/char/misc.c", 252, "")
        return
    devices.list.remove(misc)
    await device_destroy(kernel, devices.cls, mkdev(MISC_MAJOR, devices.view(misc).minor))
