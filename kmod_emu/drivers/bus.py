"""Buses: which driver gets which device (drivers/base/bus.c, dd.c, driver.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers import devres
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import EPROBE_DEFER
from kmod_emu.errors import KernelError
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.sysfs_group import create_groups, sysfs_create_file_ns, sysfs_remove_groups
from kmod_emu.kernel.activation import to_int
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_ADD_DEVICE, _DEL_DEVICE, _REMOVED_DEVICE, _BIND_DRIVER = 1, 2, 3, 4  # BUS_NOTIFY_*
_BOUND_DRIVER, _UNBIND_DRIVER, _UNBOUND_DRIVER, _DRIVER_NOT_BOUND = 5, 6, 7, 8
_QUIET = (-EPROBE_DEFER, -errno.ENODEV, -errno.ENXIO)


class Bus:
    """One bus: its directories in /sys/bus (kobjects), devices and drivers in order of registration."""

    def __init__(self, kobj: int, devices_kobj: int, drivers_kobj: int) -> None:
        self.kobj, self.devices_kobj, self.drivers_kobj = kobj, devices_kobj, drivers_kobj
        self.devices: list[int] = []
        self.drivers: dict[int, int] = {}  # struct device_driver -> its kobject
        self.autoprobe = True
        self.notifiers: list[int] = []  # struct notifier_block


class Buses:
    """All buses by the address of their `struct bus_type`; devices tell it when they come and go."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._devices, self._sysfs = kernel[Devices], kernel[Sysfs]
        self._top = kernel.kobjects.make("bus")
        self.buses: dict[int, Bus] = {}
        self._deferred: list[int] = []
        kernel[Devices].bus = self

    # --- buses --------------------------------------------------------------------------------------

    def name(self, bus: int) -> str:
        """A bus's name."""
        return self._devices.text(self._kernel.view("bus_type", bus).get("name"))

    def kobject(self, owner: int) -> int:
        """The kobject of a registered bus or driver, 0 for none."""
        if owner in self.buses:
            return self.buses[owner].kobj
        return next((bus.drivers[owner] for bus in self.buses.values() if owner in bus.drivers), 0)

    def owner(self, kobj: int) -> int:
        """The bus or driver that a kobject stands for."""
        for address, bus in self.buses.items():
            if bus.kobj == kobj:
                return address
            for driver, own in bus.drivers.items():
                if own == kobj:
                    return driver
        raise KernelError(errno.ENODEV, "the bus or driver is gone")

    def find_device(self, bus: int, name: str) -> int:
        """A bus's device by its name, 0 for none."""
        names = self._kernel.kobjects.name
        return next((dev for dev in self.devices(bus) if names(dev) == name), 0)

    def devices(self, bus: int) -> list[int]:
        """A bus's devices, oldest first; none if it is not registered."""
        return list(self.buses[bus].devices) if bus in self.buses else []

    def drivers(self, bus: int) -> list[int]:
        """Likewise its drivers."""
        return list(self.buses[bus].drivers) if bus in self.buses else []

    def register(self, bus: int) -> Bus:
        """Make its directories.

        Raises:
            KernelError: EEXIST, the name is taken.
        """
        kobjects = self._kernel.kobjects
        if self._sysfs.at(self._top).has(self.name(bus)):
            raise KernelError(errno.EEXIST, f"there is a bus {self.name(bus)} already")
        kobj = kobjects.make(self.name(bus), self._top, ktype="bus_ktype")
        for name in ("uevent", "drivers_probe", "drivers_autoprobe"):
            sysfs_create_file_ns(self._kernel, kobj, self._kernel.symbol(f"bus_attr_{name}"), 0)
        made = self.buses[bus] = Bus(kobj, kobjects.make("devices", kobj), kobjects.make("drivers", kobj))
        view = self._kernel.view("bus_type", bus)
        if view.has("p"):
            view.p = bus  # opaque to drivers
        return made

    async def unregister(self, bus: int) -> None:
        """Remove its directories."""
        gone = self.buses.pop(bus, None)
        if gone and (groups := self._kernel.view("bus_type", bus).bus_groups):
            sysfs_remove_groups(self._kernel, gone.kobj, groups)
        for kobj in (gone.drivers_kobj, gone.devices_kobj, gone.kobj) if gone else ():
            await self._kernel.kobjects.delete(kobj)
            await self._kernel.kobjects.put(kobj)

    async def notify(self, dev: int, event: int) -> None:
        """Tell who registered a notifier what happens to a device, those of high priority first."""
        kernel = self._kernel
        bus = self.buses.get(kernel.view("device", dev).bus)
        blocks = [kernel.view("notifier_block", block) for block in (bus.notifiers if bus else ())]
        for block in sorted(blocks, key=lambda each: -each.signed("priority")):
            await kernel.call_guest(block.notifier_call, block.address, event, dev)

    # --- devices ------------------------------------------------------------------------------------

    async def add_device(self, dev: int) -> int:
        """bus_add_device(): before user space is told; 0 or a negative errno."""
        address = self._kernel.view("device", dev).bus
        bus = self.buses.get(address)
        if bus is None:
            return 0
        groups = self._kernel.view("bus_type", address).dev_groups
        if groups and (error := await create_groups(self._kernel, dev, groups)):
            return error
        bus.devices.append(dev)
        self._sysfs.at(dev).links["subsystem"] = bus.kobj
        self._sysfs.at(bus.devices_kobj).links[self._kernel.kobjects.name(dev)] = dev
        await self.notify(dev, _ADD_DEVICE)
        return 0

    async def probe_device(self, dev: int) -> None:
        """bus_probe_device(): unless the bus was told not to, find its driver."""
        bus = self.buses.get(self._kernel.view("device", dev).bus)
        if bus is not None and bus.autoprobe:
            await self.attach(dev)

    async def attach(self, dev: int) -> int:
        """device_attach(): try the drivers that are there; 1 if it has one now, else 0."""
        view = self._kernel.view("device", dev)
        if view.driver:
            return 1
        for driver in self.drivers(view.bus):
            if await self._try(dev, driver):
                return 1
        return 0

    async def remove_device(self, dev: int) -> None:
        """bus_remove_device()."""
        bus = self.buses.get(self._kernel.view("device", dev).bus)
        if bus is not None and dev in bus.devices:
            await self.notify(dev, _DEL_DEVICE)
            await self.release_driver(dev)
            if groups := self._kernel.view("bus_type", self._kernel.view("device", dev).bus).dev_groups:
                sysfs_remove_groups(self._kernel, dev, groups)
            bus.devices.remove(dev)
            self._sysfs.at(bus.devices_kobj).links.pop(self._kernel.kobjects.name(dev), None)
            await self.notify(dev, _REMOVED_DEVICE)
        if dev in self._deferred:
            self._deferred.remove(dev)

    # --- drivers ------------------------------------------------------------------------------------

    async def register_driver(self, driver: int) -> int:
        """driver_register(): 0 or a negative errno."""
        kernel, view = self._kernel, self._kernel.view("device_driver", driver)
        bus = self.buses.get(view.bus)
        name = self._devices.text(view.get("name"))
        if bus is None:
            text = f"Driver '{name}' was unable to register with bus_type '{self.name(view.bus)}'"
            kernel.printk.emit(f"{text} because the bus was not initialized.\n", 3)
            return -errno.EINVAL
        if self.find_driver(view.bus, name):
            kernel.printk.emit(f"Error: Driver '{name}' is already registered, aborting...\n", 3)
            return -errno.EBUSY
        kobj = kernel.kobjects.make(name, bus.drivers_kobj, ktype="driver_ktype")
        bus.drivers[driver] = kobj
        view.p = kobj  # opaque to drivers
        self._link_module(view, f"{self.name(view.bus)}:{name}", kobj)
        if bus.autoprobe:
            await self.attach_driver(driver)
        for name in ("uevent",) if view.suppress_bind_attrs else ("uevent", "bind", "unbind"):
            sysfs_create_file_ns(kernel, kobj, kernel.symbol(f"driver_attr_{name}"), 0)
        for groups in (kernel.view("bus_type", view.bus).drv_groups, view.groups):
            if groups and (error := await create_groups(kernel, kobj, groups)):
                await self.unregister_driver(driver)
                return error
        await self._sysfs.uevent(kobj, "add")
        return 0

    def _link_module(self, view: StructView, name: str, kobj: int) -> None:
        """module_add_driver(): the driver and its module know each other, while its directory is there."""
        module = view.owner and view.owner + self._kernel.profile.offset("module", "mkobj")
        if place := self._sysfs.of.get(module):
            self._sysfs.at(kobj).links["module"] = module
            place.child("drivers").links[name] = kobj

    async def attach_driver(self, driver: int) -> None:
        """driver_attach(): try the devices that have no driver."""
        for dev in self.devices(self._kernel.view("device_driver", driver).bus):
            if not self._kernel.view("device", dev).driver:
                await self._try(dev, driver)

    def find_driver(self, bus: int, name: str) -> int:
        """A bus's driver by its name, 0 for none."""
        return next((driver for driver in self.drivers(bus) if self._driver_name(driver) == name), 0)

    def _driver_name(self, driver: int) -> str:
        return self._devices.text(self._kernel.view("device_driver", driver).get("name"))

    async def unregister_driver(self, driver: int) -> None:
        """driver_unregister()."""
        kernel = self._kernel
        view = kernel.view("device_driver", driver)
        bus = self.buses.get(view.bus)
        if bus is None or driver not in bus.drivers:
            text = "Unexpected driver unregister!"
            kernel.warnings.warn("drivers/base/driver.c", 270, text, "driver_unregister+0x38/0x40")
            return
        kobj = bus.drivers.pop(driver)
        module = view.owner and view.owner + kernel.profile.offset("module", "mkobj")
        if (place := self._sysfs.of.get(module)) and "drivers" in place.children:
            name = f"{self.name(view.bus)}:{self._driver_name(driver)}"
            place.children["drivers"].links.pop(name, None)
        if view.groups:
            sysfs_remove_groups(kernel, kobj, view.groups)
        for dev in reversed(bus.devices):
            if kernel.view("device", dev).driver == driver:
                await self.release_driver(dev)
        await kernel.kobjects.delete(kobj)
        await kernel.kobjects.put(kobj)
        view.p = 0

    # --- binding ------------------------------------------------------------------------------------

    async def _try(self, dev: int, driver: int) -> bool:
        """Whether a device now belongs to a driver: it fits, and its probe said 0."""
        return await self.matches(dev, driver) and not await self.probe(dev, driver)

    async def matches(self, dev: int, driver: int) -> bool:
        """driver_match_device(): what the bus says."""
        match = self._kernel.view("bus_type", self._kernel.view("device", dev).bus).match
        return not match or await self._kernel.call_guest_int(match, dev, driver) > 0

    async def probe(self, dev: int, driver: int) -> int:
        """driver_probe_device(): give a device to a driver; 0 or a negative errno."""
        view = self._kernel.view("device", dev)
        error = await self._probe(dev, view, driver)
        if error:
            await self._failed(dev, view, driver, error)
        else:
            await self.notify(dev, _BOUND_DRIVER)
            await self._retry_deferred()
        return error

    async def _probe(self, dev: int, view: StructView, driver: int) -> int:
        """really_probe()."""
        kernel = self._kernel
        view.driver = driver
        self._link(dev, driver)
        await self.notify(dev, _BIND_DRIVER)
        probe = kernel.view("bus_type", view.bus).probe or kernel.view("device_driver", driver).probe
        if not probe:
            return 0
        kernel.events.emit("probe", device=kernel.kobjects.name(dev), driver=self._driver_name(driver))
        error = to_int(await kernel.call_guest(probe, dev))
        groups = kernel.view("device_driver", driver).dev_groups
        return error or (await create_groups(kernel, dev, groups) if groups else 0)

    async def _failed(self, dev: int, view: StructView, driver: int, error: int) -> None:
        kernel, name = self._kernel, self._kernel.kobjects.name(dev)
        if error not in _QUIET:
            text = f"{self._driver_name(driver)}: probe of {name} failed with error {error}"
            kernel.printk.emit(f"{text}\n", 4)
        await self.notify(dev, _DRIVER_NOT_BOUND)
        if error == -EPROBE_DEFER and dev not in self._deferred:
            self._deferred.append(dev)
        await self._unbind(dev, view, driver)

    async def _retry_deferred(self) -> None:
        """A driver got a device: those that wait for something may have it now."""
        waiting, self._deferred = self._deferred, []
        for dev in waiting:
            await self.probe_device(dev)

    async def release_driver(self, dev: int) -> None:
        """device_release_driver(): the driver's remove, then what goes with it."""
        kernel, view = self._kernel, self._kernel.view("device", dev)
        driver = view.driver
        if not driver:
            return
        await self.notify(dev, _UNBIND_DRIVER)
        if groups := kernel.view("device_driver", driver).dev_groups:
            sysfs_remove_groups(kernel, dev, groups)
        remove = kernel.view("bus_type", view.bus).remove or kernel.view("device_driver", driver).remove
        if remove:
            await kernel.call_guest(remove, dev)
        await self._unbind(dev, view, driver)
        await self.notify(dev, _UNBOUND_DRIVER)

    async def _unbind(self, dev: int, view: StructView, driver: int) -> None:
        await devres.release_all(self._kernel, dev)
        self._unlink(dev, driver)
        view.driver = view.driver_data = 0

    def _driver_kobject(self, driver: int) -> int:
        return self._kernel.view("device_driver", driver).p

    def _link(self, dev: int, driver: int) -> None:
        kobj = self._driver_kobject(driver)
        self._sysfs.at(kobj).links[self._kernel.kobjects.name(dev)] = dev
        self._sysfs.at(dev).links["driver"] = kobj

    def _unlink(self, dev: int, driver: int) -> None:
        self._sysfs.at(self._driver_kobject(driver)).links.pop(self._kernel.kobjects.name(dev), None)
        self._sysfs.at(dev).links.pop("driver", None)

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        buses = [
            [
                bus,
                each.kobj,
                each.devices_kobj,
                each.drivers_kobj,
                list(each.devices),
                list(each.drivers.items()),
                each.autoprobe,
                list(each.notifiers),
            ]
            for bus, each in self.buses.items()
        ]
        return {"buses": buses, "deferred": list(self._deferred)}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.buses = {}
        for bus, kobj, devices_kobj, drivers_kobj, devices, drivers, autoprobe, notifiers in state["buses"]:
            made = self.buses[bus] = Bus(kobj, devices_kobj, drivers_kobj)
            made.devices, made.drivers, made.autoprobe = list(devices), dict(drivers), autoprobe
            made.notifiers = list(notifiers)
        self._deferred = list(state["deferred"])
