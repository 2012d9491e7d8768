"""The platform bus: devices that nobody can enumerate, known by name (drivers/base/platform.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import EPROBE_DEFER, prefix
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.uevent import add_variable
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_NAME_SIZE, _ID_SIZE = 20, 32  # struct platform_device_id: a name, a number


class Platform:
    """The bus, and numbers for devices that want one."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._next_id = 0
        devices, bus = kernel[Devices], kernel.symbol("platform_bus")
        devices.initialize(bus)
        kernel.kobjects.set_name(bus, b"platform")
        kernel[Sysfs].create_dir(
            bus, "platform", devices.devices_kset + kernel.profile.offset("kset", "kobj")
        )
        kernel.kobjects.view(bus).set_bit("state_in_sysfs", True)
        kernel[Buses].register(kernel.symbol("platform_bus_type"))

    def auto_id(self) -> int:
        """The next free number."""
        self._next_id += 1
        return self._next_id - 1

    def device_of(self, dev: int) -> StructView:
        """The platform device around a device."""
        kernel = self._kernel
        return kernel.view("platform_device", dev - kernel.profile.offset("platform_device", "dev"))

    def driver_of(self, driver: int) -> StructView:
        """The platform driver around a driver."""
        kernel = self._kernel
        return kernel.view("platform_driver", driver - kernel.profile.offset("platform_driver", "driver"))

    def save(self) -> int:
        """State for a snapshot or file."""
        return self._next_id

    def load(self, state: int) -> None:
        """Put saved state back."""
        self._next_id = state


# --- the bus --------------------------------------------------------------------------------------------


@export_data("struct device platform_bus", lambda kernel: kernel.profile.struct("device").size)
def platform_bus(kernel: KernelCore, address: int) -> None:
    """Parent of all platform devices; `Platform` prepares it."""


@export_data("struct bus_type platform_bus_type", lambda kernel: kernel.profile.struct("bus_type").size + 16)
def platform_bus_type(kernel: KernelCore, address: int) -> None:
    """The bus; its name lies behind it."""
    view = kernel.view("bus_type", address)
    name = address + view.layout.size
    kernel.memory.write(name, b"platform\0")
    view.set("name", name)
    for method in ("match", "probe", "remove", "uevent"):
        view.set(method, kernel.symbol(f"platform_{method}"))


def name_at(kernel: KernelCore, address: int) -> bytes:
    """A C string; empty for NULL."""
    return kernel.memory.read_cstring(address) if address else b""


@export("int platform_match(struct device *dev, struct device_driver *drv)")
def platform_match(kernel: KernelCore, dev: int, drv: int) -> int:
    """By driver_override, by the driver's table of names, or by its name."""
    pdev, pdrv = kernel[Platform].device_of(dev), kernel[Platform].driver_of(drv)
    own, driver = (
        name_at(kernel, pdev.get("name")),
        name_at(kernel, kernel.view("device_driver", drv).get("name")),
    )
    if pdev.driver_override:
        return int(name_at(kernel, pdev.driver_override) == driver)
    entry = pdrv.id_table
    if not entry:
        return int(own == driver)
    while name := kernel.memory.read_cstring(entry, _NAME_SIZE):
        if name == own:
            pdev.id_entry = entry
            return 1
        entry += _ID_SIZE
    return 0


@export("int platform_probe(struct device *dev)")
async def platform_probe(kernel: KernelCore, dev: int) -> int:
    """Call the driver's probe."""
    pdev, pdrv = (
        kernel[Platform].device_of(dev),
        kernel[Platform].driver_of(kernel.view("device", dev).driver),
    )
    error = to_int(await kernel.call_guest(pdrv.probe, pdev.address)) if pdrv.probe else 0
    if error == -EPROBE_DEFER and pdrv.prevent_deferred_probe:
        kernel.printk.emit(f"{prefix(kernel, dev)}probe deferral not supported\n", 4)
        return -errno.ENXIO
    return error


@export("void platform_remove(struct device *dev)")
async def platform_remove(kernel: KernelCore, dev: int) -> None:
    """Call the driver's remove."""
    pdev, pdrv = (
        kernel[Platform].device_of(dev),
        kernel[Platform].driver_of(kernel.view("device", dev).driver),
    )
    if pdrv.has("remove_new") and pdrv.remove_new:
        await kernel.call_guest(pdrv.remove_new, pdev.address)
    elif pdrv.remove:
        error = to_int(await kernel.call_guest(pdrv.remove, pdev.address))
        if error and pdrv.has("remove_new"):
            text = "remove callback returned a non-zero value. This will be ignored."
            kernel.printk.emit(f"{prefix(kernel, dev)}{text}\n", 4)


@export("int platform_uevent(struct device *dev, struct kobj_uevent_env *env)")
def platform_uevent(kernel: KernelCore, dev: int, env: int) -> int:
    """MODALIAS, by which udev finds the module."""
    name = name_at(kernel, kernel[Platform].device_of(dev).get("name"))
    add_variable(kernel, kernel.view("kobj_uevent_env", env), b"MODALIAS=platform:" + name)
    return 0


# --- drivers --------------------------------------------------------------------------------------------


@export("int __platform_driver_register(struct platform_driver *drv, struct module *owner)")
async def __platform_driver_register(kernel: KernelCore, drv: int, owner: int) -> int:
    """Register a driver; devices that fit are probed (drivers/base/platform.c)."""
    driver = kernel.view("device_driver", drv + kernel.profile.offset("platform_driver", "driver"))
    driver.owner, driver.bus = owner, kernel.symbol("platform_bus_type")
    return await kernel[Buses].register_driver(driver.address)


@export("void platform_driver_unregister(struct platform_driver *drv)")
async def platform_driver_unregister(kernel: KernelCore, drv: int) -> None:
    """Remove it (drivers/base/platform.c)."""
    await kernel[Buses].unregister_driver(drv + kernel.profile.offset("platform_driver", "driver"))


@export(
    "int __platform_driver_probe(struct platform_driver *drv, int (*probe)(struct platform_device *),"
    " struct module *module)"
)
async def __platform_driver_probe(kernel: KernelCore, drv: int, probe: int, module: int) -> int:
    """Register a driver whose probe is init code; ENODEV if it got no device (drivers/base/platform.c)."""
    view = kernel.view("platform_driver", drv)
    view.prevent_deferred_probe, view.probe = 1, probe
    error = await __platform_driver_register(kernel, drv, module)
    if error:
        return error
    view.probe = 0
    own = drv + kernel.profile.offset("platform_driver", "driver")
    bus = kernel[Buses].buses[kernel.symbol("platform_bus_type")]
    if any(kernel.view("device", dev).driver == own for dev in bus.devices):
        return 0
    await platform_driver_unregister(kernel, drv)
    return -errno.ENODEV


@export(
    "int __platform_register_drivers(struct platform_driver * const *drivers, unsigned int count,"
    " struct module *owner)"
)
async def __platform_register_drivers(kernel: KernelCore, drivers: int, count: int, owner: int) -> int:
    """Several: all, or none (drivers/base/platform.c)."""
    pointers = [kernel.memory.read_u64(drivers + 8 * index) for index in range(count)]
    for index, driver in enumerate(pointers):
        if error := await __platform_driver_register(kernel, driver, owner):
            for before in reversed(pointers[:index]):
                await platform_driver_unregister(kernel, before)
            return error
    return 0


@export("void platform_unregister_drivers(struct platform_driver * const *drivers, unsigned int count)")
async def platform_unregister_drivers(kernel: KernelCore, drivers: int, count: int) -> None:
    """The last first (drivers/base/platform.c)."""
    for index in reversed(range(count)):
        await platform_driver_unregister(kernel, kernel.memory.read_u64(drivers + 8 * index))
