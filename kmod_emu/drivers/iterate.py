"""Walks over the devices and drivers of buses, classes and parents (drivers/base/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import Devices
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def _after(start: int, subjects: list[int]) -> list[int]:
    """Those behind `start`; all for NULL."""
    return subjects[subjects.index(start) + 1 :] if start in subjects else subjects


async def _each(kernel: KernelCore, fn: int, data: int, subjects: list[int]) -> int:
    """Call a function until it returns something else than 0: that."""
    for subject in subjects:
        if result := await kernel.call_guest_int(fn, subject, data):
            return result
    return 0


async def _find(kernel: KernelCore, match: int, data: int, devices: list[int]) -> int:
    """The first device that a function says yes to, with a reference; NULL for none."""
    for dev in devices:
        if await kernel.call_guest_int(match, dev, data):
            return kernel.kobjects.get(dev)
    return 0


# --- of a bus -------------------------------------------------------------------------------------------


@export(
    "int bus_for_each_dev(struct bus_type *bus, struct device *start, void *data,"
    " int (*fn)(struct device *, void *))"
)
async def bus_for_each_dev(kernel: KernelCore, bus: int, start: int, data: int, fn: int) -> int:
    """Its devices, in order of registration."""
    if not bus:
        return -errno.EINVAL
    return await _each(kernel, fn, data, _after(start, kernel[Buses].devices(bus)))


@export(
    "struct device *bus_find_device(struct bus_type *bus, struct device *start, const void *data,"
    " int (*match)(struct device *, const void *))"
)
async def bus_find_device(kernel: KernelCore, bus: int, start: int, data: int, match: int) -> int:
    """One of its devices."""
    return await _find(kernel, match, data, _after(start, kernel[Buses].devices(bus)))


@export(
    "int bus_for_each_drv(struct bus_type *bus, struct device_driver *start, void *data,"
    " int (*fn)(struct device_driver *, void *))"
)
async def bus_for_each_drv(kernel: KernelCore, bus: int, start: int, data: int, fn: int) -> int:
    """Its drivers."""
    if not bus:
        return -errno.EINVAL
    return await _each(kernel, fn, data, _after(start, kernel[Buses].drivers(bus)))


@export("int bus_rescan_devices(struct bus_type *bus)")
async def bus_rescan_devices(kernel: KernelCore, bus: int) -> int:
    """Look for drivers again."""
    for dev in kernel[Buses].devices(bus):
        await kernel[Buses].attach(dev)
    return 0


@export("struct device_driver *driver_find(const char *name, struct bus_type *bus)")
def driver_find(kernel: KernelCore, name: str, bus: int) -> int:
    """A driver by its name, or NULL."""
    return kernel[Buses].find_driver(bus, name)


@export("int device_attach(struct device *dev)")
async def device_attach(kernel: KernelCore, dev: int) -> int:
    """Find a driver for a device: 1 if it has one now."""
    return await kernel[Buses].attach(dev)


@export("void device_release_driver(struct device *dev)")
async def device_release_driver(kernel: KernelCore, dev: int) -> None:
    """Take it from its driver."""
    await kernel[Buses].release_driver(dev)


@export("int driver_attach(struct device_driver *drv)")
async def driver_attach(kernel: KernelCore, drv: int) -> int:
    """Find devices for a driver."""
    await kernel[Buses].attach_driver(drv)
    return 0


# --- of a driver ----------------------------------------------------------------------------------------


def _bound(kernel: KernelCore, drv: int) -> list[int]:
    bus = kernel.view("device_driver", drv).bus
    return [dev for dev in kernel[Buses].devices(bus) if kernel.view("device", dev).driver == drv]


@export(
    "int driver_for_each_device(struct device_driver *drv, struct device *start, void *data,"
    " int (*fn)(struct device *, void *))"
)
async def driver_for_each_device(kernel: KernelCore, drv: int, start: int, data: int, fn: int) -> int:
    """The devices that it drives."""
    if not drv:
        return -errno.EINVAL
    return await _each(kernel, fn, data, _after(start, _bound(kernel, drv)))


@export(
    "struct device *driver_find_device(struct device_driver *drv, struct device *start, const void *data,"
    " int (*match)(struct device *, const void *))"
)
async def driver_find_device(kernel: KernelCore, drv: int, start: int, data: int, match: int) -> int:
    """One of them."""
    return await _find(kernel, match, data, _after(start, _bound(kernel, drv))) if drv else 0


# --- of a parent, of a class ----------------------------------------------------------------------------


def _children(kernel: KernelCore, parent: int) -> list[int]:
    return [dev for dev in kernel[Devices].devices if kernel.view("device", dev).parent == parent]


@export("int device_for_each_child(struct device *parent, void *data, int (*fn)(struct device *, void *))")
async def device_for_each_child(kernel: KernelCore, parent: int, data: int, fn: int) -> int:
    """A device's children."""
    return await _each(kernel, fn, data, _children(kernel, parent))


@export(
    "int device_for_each_child_reverse(struct device *parent, void *data, int (*fn)(struct device *, void *))"
)
async def device_for_each_child_reverse(kernel: KernelCore, parent: int, data: int, fn: int) -> int:
    """Likewise, the youngest first."""
    return await _each(kernel, fn, data, _children(kernel, parent)[::-1])


@export(
    "struct device *device_find_child(struct device *parent, void *data,"
    " int (*match)(struct device *, void *))"
)
async def device_find_child(kernel: KernelCore, parent: int, data: int, match: int) -> int:
    """One of them."""
    return await _find(kernel, match, data, _children(kernel, parent)) if parent else 0


def _members(kernel: KernelCore, cls: int) -> list[int]:
    return [dev for dev in kernel[Devices].devices if kernel.view("device", dev).get("class") == cls]


@export(
    "int class_for_each_device(struct class *class, struct device *start, void *data,"
    " int (*fn)(struct device *, void *))"
)
async def class_for_each_device(kernel: KernelCore, cls: int, start: int, data: int, fn: int) -> int:
    """A class's devices."""
    if cls not in kernel[Devices].classes:
        return -errno.EINVAL
    return await _each(kernel, fn, data, _after(start, _members(kernel, cls)))


@export(
    "struct device *class_find_device(struct class *class, struct device *start, const void *data,"
    " int (*match)(struct device *, const void *))"
)
async def class_find_device(kernel: KernelCore, cls: int, start: int, data: int, match: int) -> int:
    """One of them."""
    return await _find(kernel, match, data, _after(start, _members(kernel, cls)))


@export("int device_match_name(struct device *dev, const void *name)")
def device_match_name(kernel: KernelCore, dev: int, name: str) -> int:
    """Whether it has that name: bus_find_device_by_name() and its kin."""
    return int(kernel.kobjects.name(dev) == name.removesuffix("\n"))


@export("int device_match_devt(struct device *dev, const void *pdevt)")
def device_match_devt(kernel: KernelCore, dev: int, pdevt: int) -> int:
    """Whether it has that number."""
    return int(kernel.view("device", dev).devt == kernel.memory.read_u32(pdevt))


@export("int device_match_any(struct device *dev, const void *unused)")
def device_match_any(kernel: KernelCore, dev: int, unused: int) -> int:
    """Yes."""
    return 1
