"""Attributes of buses and drivers: bind and unbind by hand, and what modules add (drivers/base/bus.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.attributes import define_attribute, define_ops, define_type
from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.dev_printk import EPROBE_DEFER
from kmod_emu.fs.sysfs_group import sysfs_create_file_ns, sysfs_remove_file_ns
from kmod_emu.fs.uevent import synthesize
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def _define_kind(kind: str, struct: str) -> None:
    """What /sys calls for attributes of buses, or of drivers, and what modules call to add one."""

    @export(f"ssize_t {kind}_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)")
    async def show(kernel: KernelCore, kobj: int, attr: int, buf: int) -> int:
        """Read one."""
        method = kernel.view(f"{kind}_attribute", attr).show
        owner = kernel[Buses].owner(kobj)
        return await kernel.call_guest(method, owner, buf) if method else (0 if kind == "bus" else -errno.EIO)

    @export(
        f"ssize_t {kind}_attr_store(struct kobject *kobj, struct attribute *attr, const char *buf,"
        " size_t count)"
    )
    async def store(kernel: KernelCore, kobj: int, attr: int, buf: int, count: int) -> int:
        """Write one."""
        method = kernel.view(f"{kind}_attribute", attr).store
        owner = kernel[Buses].owner(kobj)
        if not method:
            return 0 if kind == "bus" else -errno.EIO
        return await kernel.call_guest(method, owner, buf, count)

    @export(f"int {kind}_create_file(struct {struct} *owner, struct {kind}_attribute *attr)")
    def create_file(kernel: KernelCore, owner: int, attr: int) -> int:
        """A file in the directory of a bus or driver; EINVAL if it is not registered."""
        kobj = kernel[Buses].kobject(owner)
        return sysfs_create_file_ns(kernel, kobj, attr, 0) if kobj else -errno.EINVAL

    @export(f"void {kind}_remove_file(struct {struct} *owner, struct {kind}_attribute *attr)")
    def remove_file(kernel: KernelCore, owner: int, attr: int) -> None:
        """Remove it."""
        if kobj := kernel[Buses].kobject(owner):
            sysfs_remove_file_ns(kernel, kobj, attr, 0)

    define_ops(f"const struct sysfs_ops {kind}_sysfs_ops", 16, f"{kind}_attr_show", f"{kind}_attr_store")
    define_type(f"{kind}_ktype", "dynamic_kobj_release", f"{kind}_sysfs_ops")


_define_kind("bus", "bus_type")
_define_kind("driver", "device_driver")


def _word(kernel: KernelCore, buf: int) -> str:
    """What was written, without a newline at its end."""
    return kernel.memory.read_text(buf).removesuffix("\n")


# --- of every driver ------------------------------------------------------------------------------------


@export("ssize_t bind_store(struct device_driver *drv, const char *buf, size_t count)")
async def bind_store(kernel: KernelCore, drv: int, buf: int, count: int) -> int:
    """`bind`: give a device, by its name, to this driver."""
    buses = kernel[Buses]
    dev = buses.find_device(kernel.view("device_driver", drv).bus, _word(kernel, buf))
    if not dev or not await buses.matches(dev, drv):
        return -errno.ENODEV
    if kernel.view("device", dev).driver:
        return -errno.EBUSY
    error = await buses.probe(dev, drv)
    return (-errno.EAGAIN if error == -EPROBE_DEFER else error) or count


@export("ssize_t unbind_store(struct device_driver *drv, const char *buf, size_t count)")
async def unbind_store(kernel: KernelCore, drv: int, buf: int, count: int) -> int:
    """`unbind`: take a device from this driver."""
    buses = kernel[Buses]
    dev = buses.find_device(kernel.view("device_driver", drv).bus, _word(kernel, buf))
    if not dev or kernel.view("device", dev).driver != drv:
        return -errno.ENODEV
    await buses.release_driver(dev)
    return count


@export("ssize_t driver_uevent_store(struct device_driver *drv, const char *buf, size_t count)")
def driver_uevent_store(kernel: KernelCore, drv: int, buf: int, count: int) -> int:
    """`uevent`: send a message about the driver."""
    path = kernel.kobjects.sysfs.path(kernel[Buses].kobject(drv))
    synthesize(kernel, path, "drivers", kernel.memory.read(buf, count))
    return count


define_attribute("driver_attr_bind", "bind", 0o200, "", "bind_store")
define_attribute("driver_attr_unbind", "unbind", 0o200, "", "unbind_store")
define_attribute("driver_attr_uevent", "uevent", 0o200, "", "driver_uevent_store")


# --- of every bus ---------------------------------------------------------------------------------------


@export("ssize_t drivers_autoprobe_show(struct bus_type *bus, char *buf)")
def drivers_autoprobe_show(kernel: KernelCore, bus: int, buf: int) -> int:
    """`drivers_autoprobe`: whether new devices and drivers find each other by themselves."""
    kernel.memory.write(buf, b"%d\n\0" % kernel[Buses].buses[bus].autoprobe)
    return 2


@export("ssize_t drivers_autoprobe_store(struct bus_type *bus, const char *buf, size_t count)")
def drivers_autoprobe_store(kernel: KernelCore, bus: int, buf: int, count: int) -> int:
    """0 switches it off."""
    kernel[Buses].buses[bus].autoprobe = kernel.memory.read_u8(buf) != ord("0")
    return count


@export("ssize_t drivers_probe_store(struct bus_type *bus, const char *buf, size_t count)")
async def drivers_probe_store(kernel: KernelCore, bus: int, buf: int, count: int) -> int:
    """`drivers_probe`: look for a driver for a device, by its name."""
    dev = kernel[Buses].find_device(bus, _word(kernel, buf))
    if not dev:
        return -errno.ENODEV
    await kernel[Buses].attach(dev)
    return count


@export("ssize_t bus_uevent_store(struct bus_type *bus, const char *buf, size_t count)")
def bus_uevent_store(kernel: KernelCore, bus: int, buf: int, count: int) -> int:
    """`uevent`: send a message about the bus."""
    path = kernel.kobjects.sysfs.path(kernel[Buses].kobject(bus))
    synthesize(kernel, path, "bus", kernel.memory.read(buf, count))
    return count


define_attribute(
    "bus_attr_drivers_autoprobe",
    "drivers_autoprobe",
    0o644,
    "drivers_autoprobe_show",
    "drivers_autoprobe_store",
)
define_attribute("bus_attr_drivers_probe", "drivers_probe", 0o200, "", "drivers_probe_store")
define_attribute("bus_attr_uevent", "uevent", 0o200, "", "bus_uevent_store")
