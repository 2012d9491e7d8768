"""Drivers of the kernel's own buses (drivers/base/bus.c): shown in /sys/bus, and bound to nothing.

A row is a bus with the functions that its drivers call. I2C, SPI and platform drivers are not here: these
buses are imitated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.drivers.bus import Buses
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore


class DriverFamily(NamedTuple):
    """A bus and how drivers join it.

    Attributes:
        bus: Its name.
        symbol: Of its `struct bus_type`.
        register: Prototype of the function that adds a driver, whose structure is its first argument.
        unregister: Of the one that removes it.
        struct: The driver's structure.
        driver: The `struct device_driver` in it.
        owner: Which argument is the module; -1: the structure says it itself, or nobody.
        mod_name: Which argument is the module's name.
        name: The member that names it, if that is not the `struct device_driver` itself.
        prepare: What else is done to the structure; a negative errno ends it.
    """

    bus: str
    symbol: str
    register: str
    unregister: str
    struct: str
    driver: str = "driver"
    owner: int = -1
    mod_name: int = -1
    name: str = ""
    prepare: Callable[[KernelCore, StructView], int] | None = None


def _pci(kernel: KernelCore, view: StructView) -> int:
    """__pci_register_driver(): room for IDs that are added later; the driver's groups."""
    own = kernel.view("device_driver", view.addressof("driver"))
    own.groups = view.groups
    if view.has("dev_groups"):
        own.dev_groups = view.dev_groups
    dynids = kernel.profile.struct("pci_dynids")
    lists.init(kernel.memory, view.addressof("dynids") + dynids.offset("list"))
    return 0


def _acpi(kernel: KernelCore, view: StructView) -> int:
    """acpi_bus_register_driver(): its name is in it, and so is its module."""
    own = kernel.view("device_driver", view.addressof("drv"))
    own.set("name", view.addressof("name"))
    if view.has("owner"):
        own.owner = view.owner
    return 0


def _dax(kernel: KernelCore, view: StructView) -> int:
    """__dax_driver_register(): the only driver is called as its module."""
    own = kernel.view("device_driver", view.addressof("drv"))
    if not own.get("name"):
        own.set("name", own.mod_name)
    return 0


def _serio(kernel: KernelCore, view: StructView) -> int:
    """__serio_register_driver(): a thread binds ports, not the bus."""
    view.manual_bind = 1
    return 0


def _auxiliary(kernel: KernelCore, view: StructView) -> int:
    """__auxiliary_driver_register(): without these there is nothing to bind."""
    return 0 if view.probe and view.id_table else -errno.EINVAL


_OWNED = "struct module *owner, const char *mod_name"

BUSES = (
    DriverFamily(
        "pci", "pci_bus_type", f"int __pci_register_driver(struct pci_driver *drv, {_OWNED})",
        "void pci_unregister_driver(struct pci_driver *drv)",
        "pci_driver", owner=1, mod_name=2, name="name", prepare=_pci,
    ),
    DriverFamily(
        "acpi", "acpi_bus_type", "int acpi_bus_register_driver(struct acpi_driver *driver)",
        "void acpi_bus_unregister_driver(struct acpi_driver *driver)",
        "acpi_driver", driver="drv", prepare=_acpi,
    ),
    DriverFamily(
        "pnp", "pnp_bus_type", "int pnp_register_driver(struct pnp_driver *drv)",
        "void pnp_unregister_driver(struct pnp_driver *drv)", "pnp_driver", name="name",
    ),
    DriverFamily(
        "serio", "serio_bus", f"int __serio_register_driver(struct serio_driver *drv, {_OWNED})",
        "void serio_unregister_driver(struct serio_driver *drv)",
        "serio_driver", owner=1, mod_name=2, prepare=_serio,
    ),
    DriverFamily(
        "serial", "serdev_bus_type",
        "int __serdev_device_driver_register(struct serdev_device_driver *sdrv, struct module *owner)",
        "", "serdev_device_driver", owner=1,
    ),
    DriverFamily(
        "auxiliary", "auxiliary_bus_type",
        f"int __auxiliary_driver_register(struct auxiliary_driver *auxdrv, {_OWNED})",
        "void auxiliary_driver_unregister(struct auxiliary_driver *auxdrv)",
        "auxiliary_driver", owner=1, mod_name=2, name="name", prepare=_auxiliary,
    ),
    DriverFamily(
        "xen", "xenbus_frontend", f"int __xenbus_register_frontend(struct xenbus_driver *drv, {_OWNED})",
        "void xenbus_unregister_driver(struct xenbus_driver *drv)",
        "xenbus_driver", owner=1, mod_name=2, name="name",
    ),
    DriverFamily(
        "xen-backend", "xenbus_backend",
        f"int __xenbus_register_backend(struct xenbus_driver *drv, {_OWNED})",
        "", "xenbus_driver", owner=1, mod_name=2, name="name",
    ),
    DriverFamily(
        "coreboot", "coreboot_bus_type", "int coreboot_driver_register(struct coreboot_driver *driver)",
        "void coreboot_driver_unregister(struct coreboot_driver *driver)", "coreboot_driver", driver="drv",
    ),
    DriverFamily(
        "mipi-dsi", "mipi_dsi_bus_type",
        "int mipi_dsi_driver_register_full(struct mipi_dsi_driver *drv, struct module *owner)",
        "void mipi_dsi_driver_unregister(struct mipi_dsi_driver *drv)", "mipi_dsi_driver", owner=1,
    ),
    DriverFamily(
        "cxl", "cxl_bus_type",
        "int __cxl_driver_register(struct cxl_driver *cxl_drv, struct module *owner, const char *modname)",
        "void cxl_driver_unregister(struct cxl_driver *cxl_drv)",
        "cxl_driver", driver="drv", owner=1, mod_name=2, name="name",
    ),
    DriverFamily(
        "dax", "dax_bus_type",
        "int __dax_driver_register(struct dax_device_driver *dax_drv, struct module *module,"
        " const char *mod_name)",
        "void dax_driver_unregister(struct dax_device_driver *dax_drv)",
        "dax_device_driver", driver="drv", owner=1, mod_name=2, prepare=_dax,
    ),
)  # fmt: skip


@export("int nothing_matches(struct device *dev, struct device_driver *drv)", Fidelity.REGISTRATION)
def nothing_matches(kernel: KernelCore, dev: int, drv: int) -> int:
    """`match` of these buses."""
    return 0


def _declare(row: DriverFamily) -> None:
    @export_data(
        f"struct bus_type {row.symbol}",
        lambda kernel: kernel.profile.struct("bus_type").size + 16,
        Fidelity.REGISTRATION,
    )
    def bus_type(kernel: KernelCore, address: int) -> None:
        """The bus; its name lies behind it."""
        view = kernel.view("bus_type", address)
        kernel.memory.write(address + view.layout.size, row.bus.encode() + b"\0")
        view.set("name", address + view.layout.size)
        view.match = kernel.symbol("nothing_matches")

    @export(row.register, Fidelity.REGISTRATION)
    async def register(kernel: KernelCore, *arguments: int) -> int:
        """A directory in /sys/bus/*/drivers; no device is there to be bound."""
        view = kernel.view(row.struct, arguments[0])
        own = kernel.view("device_driver", view.addressof(row.driver))
        own.bus = kernel.symbol(row.symbol)
        if row.owner >= 0:
            own.owner = arguments[row.owner]
        if row.mod_name >= 0:
            own.mod_name = arguments[row.mod_name]
        if row.prepare is not None and (error := row.prepare(kernel, view)):
            return error
        if row.name:
            own.set("name", _name(kernel, row, view, own))
        error = await kernel[Buses].register_driver(own.address)
        if error and row.bus == "serio":
            name = kernel.memory.read_text(own.get("name"))
            kernel.printk.emit(f"serio: driver_register() failed for {name}, error: {error}\n", 3)
        return error

    if row.unregister:

        @export(row.unregister, Fidelity.REGISTRATION)
        async def unregister(kernel: KernelCore, *arguments: int) -> None:
            """It goes."""
            driver = kernel.view(row.struct, arguments[0]).addressof(row.driver)
            name = kernel.view("device_driver", driver).get("name")
            await kernel[Buses].unregister_driver(driver)
            if row.bus == "auxiliary":
                kernel.heap.kfree(name)


def _name(kernel: KernelCore, row: DriverFamily, view: StructView, own: StructView) -> int:
    """What the driver is called in /sys: its own name, its bus's first device's, or with the module's."""
    name = view.get(row.name)
    if row.bus == "auxiliary":
        parts = [kernel.memory.read_text(part) for part in (own.mod_name, name) if part]
        text = ".".join(parts).encode("utf-8", "surrogateescape") + b"\0"
        name = kernel.heap.kmalloc(len(text))
        kernel.memory.write(name, text)
    if row.bus.startswith("xen"):
        return name or view.ids
    return name


for _row in BUSES:
    _declare(_row)
