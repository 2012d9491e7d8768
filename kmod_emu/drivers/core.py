"""Devices in /sys and /dev (drivers/base/core.c).

`struct device` lies in guest memory; kept here is which are registered, and in which class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.abi import lists
from kmod_emu.fs.devtmpfs import Devtmpfs
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.sysfs_group import create_groups, sysfs_create_file_ns, sysfs_remove_groups
from kmod_emu.fs.tree import directory
from kmod_emu.kernel.locking import init_lock
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFMT, major, minor

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

# Classes that Debian's kernel has from the start; their names are taken.
_BUILT_IN_CLASSES = (
    "backlight", "block", "bsg", "devcoredump", "devfreq", "devlink", "dma", "dmi", "firmware",
    "graphics", "hwmon", "i2c-adapter", "intel_scu_ipc", "iommu", "mem",
    "pci_bus", "phy", "power_supply", "powercap", "pps", "ptp", "pwm", "regulator", "rtc",
    "spidev", "thermal", "tpm", "tpmrm", "tty", "vc", "vtconsole", "wakeup",
)  # fmt: skip

_EMPTY = directory({}, 0o755)


class BusPart(Protocol):
    """What buses do with a device that comes or goes (bus.py)."""

    async def add_device(self, dev: int) -> int:
        """It is there; 0 or a negative errno."""

    async def probe_device(self, dev: int) -> None:
        """User space was told: find its driver."""

    async def remove_device(self, dev: int) -> None:
        """Take it from its driver."""


class Devices:
    """The registered classes and devices.

    Attributes:
        bus: Told of devices.
        classes: Address of a `struct class` -> its kobject.
        devices: Addresses of `struct device`, oldest first.
        interfaces: Addresses of `struct class_interface`: who is told of a class's devices.
        class_kset: The kset whose kobject is /sys/class.
        devices_kset: Likewise /sys/devices.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._sysfs = kernel[Sysfs]
        self.bus: BusPart
        self.classes: dict[int, int] = {}
        self.devices: list[int] = []
        self.interfaces: list[int] = []
        self._glue: dict[tuple[int, int], int] = {}  # (parent's kobject, class) -> directory between
        self.class_kset = self._make_kset("class", 0)
        self.devices_kset = self._make_kset("devices", kernel.symbol("device_uevent_ops"))
        self._virtual = kernel.kobjects.make("virtual", self._kset_kobject(self.devices_kset))
        below = self._sysfs.at(self._kset_kobject(self.class_kset))
        below.computed = lambda: dict.fromkeys(_BUILT_IN_CLASSES, _EMPTY)
        dev = kernel.kobjects.make("dev")
        self.links = {kind: kernel.kobjects.make(kind, dev) for kind in ("char", "block")}

    def _make_kset(self, name: str, uevent_ops: int) -> int:
        kernel = self._kernel
        kset = kernel.view("kset", kernel.heap.kmalloc(kernel.profile.struct("kset").size))
        kset.uevent_ops = uevent_ops
        kobj = kset.addressof("kobj")
        kernel.kobjects.initialize(kobj, kernel.symbol("kset_ktype"))
        lists.init(kernel.memory, kset.addressof("list"))
        kernel.kobjects.set_name(kobj, name.encode())
        self._sysfs.create_dir(kobj, name, 0)
        kernel.kobjects.view(kobj).set_bit("state_in_sysfs", True)
        return kset.address

    def _kset_kobject(self, kset: int) -> int:
        return kset + self._kernel.profile.offset("kset", "kobj")

    # --- names --------------------------------------------------------------------------------------

    def view(self, dev: int) -> StructView:
        """A typed view on a device."""
        return self._kernel.view("device", dev)

    def text(self, address: int) -> str:
        """A C string; "" for NULL."""
        return self._kernel.memory.read_text(address) if address else ""

    def class_name(self, cls: int) -> str:
        """A class's name."""
        return self.text(self._kernel.view("class", cls).get("name"))

    def class_of_kobject(self, kobj: int) -> int:
        """The class whose kobject it is, 0 for none."""
        return next((cls for cls, own in self.classes.items() if own == kobj), 0)

    # --- classes ------------------------------------------------------------------------------------

    def make_class(self, cls: int) -> None:
        """A class of the kernel's own."""
        above = self._kset_kobject(self.class_kset)
        self.classes[cls] = self._kernel.kobjects.make(self.class_name(cls), above)

    async def register_class(self, cls: int) -> int:
        """A directory in /sys/class; 0 or a negative errno."""
        kernel = self._kernel
        kobj = kernel.heap.kmalloc(kernel.profile.struct("kobject").size)
        kernel.kobjects.initialize(kobj, kernel.symbol("class_ktype"))
        kernel.kobjects.set_name(kobj, self.class_name(cls).encode("utf-8", "surrogateescape"))
        kernel.view("kobject", kobj).kset = self.class_kset
        error = await kernel.kobjects.add(kobj)
        if error:
            await kernel.kobjects.put(kobj)
            return error
        view = kernel.view("class", cls)
        if view.has("p"):
            view.p = kobj  # opaque to drivers; only ever compared with NULL
        self.classes[cls] = kobj
        await self._sysfs.uevent(kobj, "add")
        return await create_groups(kernel, kobj, view.class_groups) if view.class_groups else 0

    async def unregister_class(self, cls: int) -> None:
        """Remove it; its release function frees it."""
        kernel = self._kernel
        kobj = self.classes.pop(cls, 0)
        if not kobj:
            return
        view = kernel.view("class", cls)
        sysfs_remove_groups(kernel, kobj, view.class_groups)
        for (parent, owner), glue in list(self._glue.items()):
            if owner == cls:
                del self._glue[parent, owner]
                await kernel.kobjects.delete(glue)
                await kernel.kobjects.put(glue)
        await kernel.kobjects.delete(kobj)
        await kernel.kobjects.put(kobj)
        if view.class_release:
            await kernel.call_guest(view.class_release, cls)

    # --- devices ------------------------------------------------------------------------------------

    def initialize(self, dev: int) -> None:
        """device_initialize()."""
        kernel, view = self._kernel, self.view(dev)
        kernel.view("kobject", dev).kset = self.devices_kset
        kernel.kobjects.initialize(dev, kernel.symbol("device_ktype"))
        if view.has("dma_pools"):
            lists.init(kernel.memory, view.addressof("dma_pools"))
        lists.init(kernel.memory, view.addressof("devres_head"))
        init_lock(kernel, "mutex", view.addressof("mutex"))
        if view.has("numa_node"):
            view.numa_node = -1

    def _parent_kobject(self, view: StructView) -> int:
        """get_device_parent(): what its directory lies in; between a device and its class's is one more."""
        kernel = self._kernel
        cls, parent = view.get("class"), view.parent
        if not cls:
            return parent
        if parent and self.view(parent).get("class"):
            return parent
        above = parent or self._virtual
        glue = self._glue.get((above, cls))
        if glue is None:
            glue = self._glue[above, cls] = kernel.kobjects.make(self.class_name(cls), above)
        return glue

    async def add(self, dev: int) -> int:
        """device_add(): 0 or a negative errno."""
        kernel, view = self._kernel, self.view(dev)
        kobjects = kernel.kobjects
        if view.init_name:
            kobjects.set_name(dev, kernel.memory.read_cstring(view.init_name))
            view.init_name = 0
        if not kobjects.view(dev).get("name"):
            return -errno.EINVAL
        kobjects.get(dev)
        kobjects.get(view.parent)
        directory = kobjects.view(dev).parent = self._parent_kobject(view)
        error = await kobjects.add(dev)
        if not error:
            error = await self._show(dev, view)
            if not error and (error := await self.bus.add_device(dev)):
                self._hide(dev, view)
            if error:
                await kobjects.delete(dev)
        if error:
            await self._drop_glue(directory)
            await kobjects.put(view.parent)
            await kobjects.put(dev)
            return error
        self.devices.append(dev)
        if major(view.devt):
            name, mode = await self.devnode(dev)
            kernel[Devtmpfs].create_node(name, mode or 0o600, view.devt)
        await self._sysfs.uevent(dev, "add")
        await self.bus.probe_device(dev)
        await self._tell_interfaces(dev, "add_dev")
        return 0

    async def _tell_interfaces(self, dev: int, method: str) -> None:
        """Who watches a class is told that a device of it comes or goes."""
        cls = self.view(dev).get("class")
        for address in list(self.interfaces):
            view = self._kernel.view("class_interface", address)
            if cls and view.get("class") == cls:
                await self.call_interface(address, method, dev)

    async def call_interface(self, address: int, method: str, dev: int) -> None:
        """Call one of its functions, which get the device first; later releases dropped what was behind."""
        if function := self._kernel.view("class_interface", address).get(method):
            await self._kernel.call_guest(function, dev, address)

    def of_class(self, cls: int) -> list[int]:
        """A class's devices."""
        return [dev for dev in self.devices if self.view(dev).get("class") == cls]

    async def _show(self, dev: int, view: StructView) -> int:
        """Its files and the links to and from it."""
        kernel, place = self._kernel, self._sysfs.at(dev)
        sysfs_create_file_ns(kernel, dev, kernel.symbol("dev_attr_uevent"), 0)
        cls = view.get("class")
        if cls:
            place.links["subsystem"] = self.classes[cls]
            self._sysfs.at(self.classes[cls]).links[kernel.kobjects.name(dev)] = dev
            if view.parent:
                place.links["device"] = view.parent
        for groups in self._groups(view):
            error = await create_groups(kernel, dev, groups)
            if error:
                self._hide(dev, view)
                return error
        place.groups.setdefault("power", {})
        if major(view.devt):
            sysfs_create_file_ns(kernel, dev, kernel.symbol("dev_attr_dev"), 0)
            self._sysfs.at(self.links["char"]).links[_numbers(view.devt)] = dev
        return 0

    def _groups(self, view: StructView) -> list[int]:
        kernel, found = self._kernel, []
        if view.get("class"):
            found.append(kernel.view("class", view.get("class")).dev_groups)
        if view.get("type"):
            found.append(kernel.view("device_type", view.get("type")).groups)
        return [groups for groups in [*found, view.groups] if groups]

    def _hide(self, dev: int, view: StructView) -> None:
        cls = view.get("class")
        if cls in self.classes:
            self._sysfs.at(self.classes[cls]).links.pop(self._kernel.kobjects.name(dev), None)
        if major(view.devt):
            self._sysfs.at(self.links["char"]).links.pop(_numbers(view.devt), None)

    async def delete(self, dev: int) -> None:
        """device_del()."""
        if dev not in self.devices:
            return
        kernel, view = self._kernel, self.view(dev)
        await self.bus.remove_device(dev)
        await self._tell_interfaces(dev, "remove_dev")
        if major(view.devt):
            name, _ = await self.devnode(dev)
            kernel[Devtmpfs].delete_node(name)
        self._hide(dev, view)
        self.devices.remove(dev)
        await self._sysfs.uevent(dev, "remove")
        parent, directory = view.parent, kernel.view("kobject", dev).parent
        await kernel.kobjects.delete(dev)
        await self._drop_glue(directory)
        await kernel.kobjects.put(parent)
        await kernel.kobjects.put(dev)

    async def _drop_glue(self, directory: int) -> None:
        """cleanup_glue_dir(): the directory between goes with the last device in it."""
        for key, glue in list(self._glue.items()):
            if glue == directory and not self._sysfs.at(glue).children:
                del self._glue[key]
                await self._kernel.kobjects.delete(glue)
                await self._kernel.kobjects.put(glue)

    async def devnode(self, dev: int) -> tuple[str, int]:
        """device_get_devnode(): name below /dev and permissions, 0 where nobody said."""
        kernel, view = self._kernel, self.view(dev)
        name = kernel.kobjects.name(dev).replace("!", "/")
        mode = 0
        for method in self._devnode_methods(view):
            slot = kernel.heap.kmalloc(8)
            place = await kernel.call_guest(method, dev, slot)
            mode = kernel.memory.read_u16(slot)
            kernel.heap.kfree(slot)
            if place:
                name = self.text(place)
                kernel.heap.kfree(place)
                break
        return name, mode & ~S_IFMT

    def _devnode_methods(self, view: StructView) -> list[int]:
        kernel, found = self._kernel, []
        if view.get("type"):
            found.append(kernel.view("device_type", view.get("type")).devnode)
        if view.get("class"):
            found.append(kernel.view("class", view.get("class")).devnode)
        return [method for method in found if method]

    def find(self, cls: int, devt: int) -> int:
        """The device of a class with that number, 0 for none."""
        for dev in self.devices:
            view = self.view(dev)
            if view.devt == devt and view.get("class") == cls:
                return dev
        return 0

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "classes": list(self.classes.items()),
            "devices": list(self.devices),
            "interfaces": list(self.interfaces),
            "glue": [[*key, glue] for key, glue in self._glue.items()],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.classes = dict(state["classes"])
        self.devices = list(state["devices"])
        self.interfaces = list(state["interfaces"])
        self._glue = {(parent, cls): glue for parent, cls, glue in state["glue"]}


def _numbers(devt: int) -> str:
    return f"{major(devt)}:{minor(devt)}"


def error_pointer(error: int) -> int:
    """ERR_PTR()."""
    return error & (1 << 64) - 1
