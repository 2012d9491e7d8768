"""What is called to register buses and drivers (drivers/base/bus.c, driver.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.bus import Buses
from kmod_emu.fs.sysfs_group import create_groups
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("int bus_register(struct bus_type *bus)")
async def bus_register(kernel: KernelCore, bus: int) -> int:
    """A bus of the module's own (drivers/base/bus.c)."""
    made, groups = kernel[Buses].register(bus), kernel.view("bus_type", bus).bus_groups
    error = await create_groups(kernel, made.kobj, groups) if groups else 0
    if error:
        await kernel[Buses].unregister(bus)
    return error


@export("void bus_unregister(struct bus_type *bus)")
async def bus_unregister(kernel: KernelCore, bus: int) -> None:
    """Remove it (drivers/base/bus.c)."""
    await kernel[Buses].unregister(bus)


@export("int driver_register(struct device_driver *drv)")
async def driver_register(kernel: KernelCore, drv: int) -> int:
    """A driver: its bus's devices that fit and have none are probed (drivers/base/driver.c)."""
    return await kernel[Buses].register_driver(drv)


@export("void driver_unregister(struct device_driver *drv)")
async def driver_unregister(kernel: KernelCore, drv: int) -> None:
    """Remove it: its devices' remove functions are called (drivers/base/driver.c)."""
    await kernel[Buses].unregister_driver(drv)


@export("int bus_register_notifier(struct bus_type *bus, struct notifier_block *nb)")
def bus_register_notifier(kernel: KernelCore, bus: int, nb: int) -> int:
    """Be told of devices that come and go, and of drivers that take them (drivers/base/bus.c)."""
    known = kernel[Buses].buses.get(bus)
    if known is None:
        return -errno.EINVAL
    known.notifiers.append(nb)
    return 0


@export("int bus_unregister_notifier(struct bus_type *bus, struct notifier_block *nb)")
def bus_unregister_notifier(kernel: KernelCore, bus: int, nb: int) -> int:
    """No longer (drivers/base/bus.c)."""
    known = kernel[Buses].buses.get(bus)
    if known is None or nb not in known.notifiers:
        return -errno.ENOENT
    known.notifiers.remove(nb)
    return 0
