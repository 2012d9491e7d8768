"""The I2C bus: adapters, the clients behind them, and their drivers (drivers/i2c/i2c-core-base.c).

All structs lie in guest memory; kept here is which adapters there are, by number. How bytes travel is in
i2c_transfer.py, buses that Python plays are in i2c_model.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.drivers.attributes import define_device_type
from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.platform import name_at
from kmod_emu.fs.uevent import add_variable
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.locking import init_lock
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_TEN_BIT, _SLAVE = 0x10, 0x20  # client flags
_NAME_SIZE, _ID_SIZE = 20, 32  # struct i2c_device_id: a name, a number
_OF_SIZE, _OF_COMPATIBLE = 200, 64  # struct of_device_id: name, type, compatible, data
_ALGORITHM_XFER = 0
_HZ = 250


class I2c:
    """The adapters by number."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.adapters: dict[int, int] = {}
        kernel[Buses].register(kernel.symbol("i2c_bus_type"))

    # --- structs around a struct device -------------------------------------------------------------

    def client_of(self, dev: int) -> StructView:
        """The client around a device."""
        return self._kernel.view("i2c_client", dev - self._kernel.profile.offset("i2c_client", "dev"))

    def adapter_of(self, dev: int) -> StructView:
        """The adapter around a device."""
        return self._kernel.view("i2c_adapter", dev - self._kernel.profile.offset("i2c_adapter", "dev"))

    def driver_of(self, driver: int) -> StructView:
        """The I2C driver around a driver."""
        return self._kernel.view("i2c_driver", driver - self._kernel.profile.offset("i2c_driver", "driver"))

    def is_client(self, dev: int) -> bool:
        """Whether a device on the bus is a client, and not an adapter."""
        return self._kernel.view("device", dev).get("type") == self._kernel.symbol("i2c_client_type")

    # --- adapters -----------------------------------------------------------------------------------

    async def add_adapter(self, adapter: StructView, number: int = -1) -> int:
        """i2c_register_adapter(): with that number, or the next that is free; 0 or a negative errno."""
        kernel, dev = self._kernel, adapter.addressof("dev")
        name = adapter.text("name")
        if not name or not adapter.algo:
            kernel.warnings.warn("drivers/i2c/i2c-core-base.c", 1472, "i2c adapter has no name")
            return -errno.EINVAL
        if number in self.adapters:
            return -errno.EBUSY
        adapter.nr = number if number >= 0 else next(n for n in range(1 << 16) if n not in self.adapters)
        init_lock(kernel, "rt_mutex", adapter.addressof("bus_lock"))
        init_lock(kernel, "mutex", adapter.addressof("userspace_clients_lock"))
        lists.init(kernel.memory, adapter.addressof("userspace_clients"))
        adapter.timeout = adapter.timeout or _HZ
        device = kernel.view("device", dev)
        device.bus = kernel.symbol("i2c_bus_type")
        device.set("type", kernel.symbol("i2c_adapter_type"))
        kernel[Devices].initialize(dev)
        kernel.kobjects.set_name(dev, b"i2c-%d" % adapter.nr)
        error = await kernel[Devices].add(dev)
        if error:
            kernel.printk.emit(f"i2c_core: adapter '{name}': can't register device ({error})\n", 3)
            return error
        self.adapters[adapter.nr] = adapter.address
        return 0

    async def remove_adapter(self, adapter: StructView) -> None:
        """i2c_del_adapter(): its clients go first, the youngest first."""
        if self.adapters.get(adapter.nr) != adapter.address:
            return
        for dev in reversed(self.clients(adapter)):
            await self.remove_client(self.client_of(dev))
        del self.adapters[adapter.nr]
        await self._kernel[Devices].delete(adapter.addressof("dev"))
        await self._kernel.kobjects.put(adapter.addressof("dev"))

    def clients(self, adapter: StructView) -> list[int]:
        """The devices behind an adapter."""
        kernel, parent = self._kernel, adapter.addressof("dev")
        own = kernel[Buses].devices(kernel.symbol("i2c_bus_type"))
        return [dev for dev in own if kernel.view("device", dev).parent == parent]

    # --- clients ------------------------------------------------------------------------------------

    async def new_client(self, adapter: StructView, info: StructView) -> int:
        """i2c_new_client_device(): the client, or a negative errno."""
        kernel, who = self._kernel, prefix(self._kernel, adapter.addressof("dev"))
        address, flags = info.addr, info.flags
        bits = 10 if flags & _TEN_BIT else 7
        if address > (0x3FF if bits == 10 else 0x7F) or not address:
            kernel.printk.emit(f"{who}Invalid {bits}-bit I2C address 0x{address:02x}\n", 3)
            return -errno.EINVAL
        error = -errno.EBUSY if self.busy(adapter, address) else 0
        if not error:
            client = kernel.view("i2c_client", kernel.heap.kmalloc(kernel.profile.struct("i2c_client").size))
            client.flags, client.addr, client.adapter = flags, address, adapter.address
            client.init_irq = info.irq
            client.set_bytes("name", info.bytes("type"))
            device = kernel.view("device", client.addressof("dev"))
            device.parent, device.bus = adapter.addressof("dev"), kernel.symbol("i2c_bus_type")
            device.set("type", kernel.symbol("i2c_client_type"))
            device.platform_data = info.platform_data
            kernel[Devices].initialize(device.address)
            shown = address | (0xA000 if bits == 10 else 0) | (0x1000 if flags & _SLAVE else 0)
            own = name_at(kernel, info.dev_name)
            name = b"i2c-" + own if own else b"%d-%04x" % (adapter.nr, shown)
            kernel.kobjects.set_name(device.address, name)
            error = await kernel[Devices].add(device.address)
            if not error:
                return client.address
            await kernel.kobjects.put(device.address)
        text = f"Failed to register i2c client {info.text('type')} at 0x{address:02x} ({error})"
        kernel.printk.emit(f"{who}{text}\n", 3)
        return error

    def busy(self, adapter: StructView, address: int) -> bool:
        """Whether an address behind an adapter is some client's."""
        return any(self.client_of(dev).addr == address for dev in self.clients(adapter))

    async def remove_client(self, client: StructView) -> None:
        """i2c_unregister_device()."""
        await self._kernel[Devices].delete(client.addressof("dev"))
        await self._kernel.kobjects.put(client.addressof("dev"))

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self.adapters.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.adapters = dict(state)


# --- the bus --------------------------------------------------------------------------------------------


@export_data("struct bus_type i2c_bus_type", lambda kernel: kernel.profile.struct("bus_type").size + 8)
def i2c_bus_type(kernel: KernelCore, address: int) -> None:
    """The bus; its name lies behind it."""
    view = kernel.view("bus_type", address)
    kernel.memory.write(address + view.layout.size, b"i2c\0")
    view.set("name", address + view.layout.size)
    for method, name in {"match": "match", "probe": "probe", "remove": "remove"}.items():
        view.set(method, kernel.symbol(f"i2c_device_{name}"))


def match_id(kernel: KernelCore, table: int, name: bytes) -> int:
    """i2c_match_id(): the entry of that name, 0 for none."""
    while table and (known := kernel.memory.read_cstring(table, _NAME_SIZE)):
        if known == name:
            return table
        table += _ID_SIZE
    return 0


def _matches_compatible(kernel: KernelCore, table: int, name: bytes) -> bool:
    """i2c_of_match_device_sysfs(): a client made by name fits `vendor,name`, and `name`."""
    while table and (known := kernel.memory.read_cstring(table + _OF_COMPATIBLE)):
        if name in (known, known.partition(b",")[2] or known):
            return True
        table += _OF_SIZE
    return False


def client_name(client: StructView) -> bytes:
    """What kind of chip it is."""
    return client.bytes("name").partition(b"\0")[0]


@export("int i2c_device_match(struct device *dev, struct device_driver *drv)")
def i2c_device_match(kernel: KernelCore, dev: int, drv: int) -> int:
    """By the driver's tables of names."""
    if not kernel[I2c].is_client(dev):
        return 0
    name, driver = client_name(kernel[I2c].client_of(dev)), kernel[I2c].driver_of(drv)
    compatible = kernel.view("device_driver", drv).of_match_table
    return int(_matches_compatible(kernel, compatible, name) or bool(match_id(kernel, driver.id_table, name)))


@export("int i2c_device_probe(struct device *dev)")
async def i2c_device_probe(kernel: KernelCore, dev: int) -> int:
    """Call the driver's probe."""
    client = kernel[I2c].client_of(dev)
    bound = kernel.view("device", dev).driver
    driver = kernel[I2c].driver_of(bound)
    client.irq = client.init_irq
    if not driver.id_table and not kernel.view("device_driver", bound).of_match_table:
        return -errno.ENODEV
    if driver.has("probe_new") and driver.probe_new:
        return await kernel.call_guest_int(driver.probe_new, client.address)
    if not driver.probe:
        return -errno.EINVAL
    entry = match_id(kernel, driver.id_table, client_name(client))  # ignored where probe takes no entry
    return await kernel.call_guest_int(driver.probe, client.address, entry)


@export("void i2c_device_remove(struct device *dev)")
async def i2c_device_remove(kernel: KernelCore, dev: int) -> None:
    """Call the driver's remove."""
    driver = kernel[I2c].driver_of(kernel.view("device", dev).driver)
    if driver.remove:
        await kernel.call_guest(driver.remove, kernel[I2c].client_of(dev).address)


@export("int i2c_device_uevent(struct device *dev, struct kobj_uevent_env *env)")
def i2c_device_uevent(kernel: KernelCore, dev: int, env: int) -> int:
    """MODALIAS, by which udev finds the module."""
    name = client_name(kernel[I2c].client_of(dev))
    add_variable(kernel, kernel.view("kobj_uevent_env", env), b"MODALIAS=i2c:" + name)
    return 0


# --- types of devices, and their files ------------------------------------------------------------------


define_device_type(
    "i2c_client_type",
    "i2c_client_dev_release",
    "i2c_device_uevent",
    {"name": (0o444, "i2c_name_show", ""), "modalias": (0o444, "i2c_modalias_show", "")},
)
define_device_type(
    "i2c_adapter_type",
    "i2c_adapter_dev_release",
    "",
    {
        "name": (0o444, "i2c_name_show", ""),
        "new_device": (0o200, "", "new_device_store"),
        "delete_device": (0o200, "", "delete_device_store"),
    },
)


@export("void i2c_client_dev_release(struct device *dev)")
def i2c_client_dev_release(kernel: KernelCore, dev: int) -> None:
    """Free a client."""
    kernel.heap.kfree(kernel[I2c].client_of(dev).address)


@export("void i2c_adapter_dev_release(struct device *dev)")
def i2c_adapter_dev_release(kernel: KernelCore, dev: int) -> None:
    """An adapter is its driver's to free."""


@export("ssize_t i2c_name_show(struct device *dev, struct device_attribute *attr, char *buf)")
def i2c_name_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`name`: of the chip, or of the adapter."""
    i2c = kernel[I2c]
    name = client_name(i2c.client_of(dev) if i2c.is_client(dev) else i2c.adapter_of(dev))
    kernel.memory.write(buf, name + b"\n\0")
    return len(name) + 1


@export("ssize_t i2c_modalias_show(struct device *dev, struct device_attribute *attr, char *buf)")
def i2c_modalias_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`modalias`."""
    text = b"i2c:" + client_name(kernel[I2c].client_of(dev))
    kernel.memory.write(buf, text + b"\n\0")
    return len(text) + 1


@export(
    "ssize_t new_device_store(struct device *dev, struct device_attribute *attr, const char *buf,"
    " size_t count)"
)
async def new_device_store(kernel: KernelCore, dev: int, attr: int, buf: int, count: int) -> int:
    """`new_device`: "name 0x48" makes a client."""
    adapter = kernel[I2c].adapter_of(dev)
    who, words = prefix(kernel, dev), kernel.memory.read_text(buf).split()
    if not words or len(words[0]) >= _NAME_SIZE:
        kernel.printk.emit(
            f"{who}new_device: {'Missing parameters' if not words else 'Invalid device name'}\n", 3
        )
        return -errno.EINVAL
    address = _number(words[1]) if len(words) == 2 else None
    if address is None:
        text = "Can't parse I2C address" if len(words) < 3 else "Extra parameters"
        kernel.printk.emit(f"{who}new_device: {text}\n", 3)
        return -errno.EINVAL
    layout = kernel.profile.struct("i2c_board_info")
    info = kernel.view("i2c_board_info", kernel.heap.kmalloc(layout.size))
    info.set_bytes("type", words[0].encode())
    info.addr = address
    client = await kernel[I2c].new_client(adapter, info)
    kernel.heap.kfree(info.address)
    if client < 0:
        return client
    shown = f"new_device: Instantiated device {words[0]} at 0x{address:02x}"
    kernel.printk.emit(f"{who}{shown}\n", 6)
    return count


@export(
    "ssize_t delete_device_store(struct device *dev, struct device_attribute *attr, const char *buf,"
    " size_t count)"
)
async def delete_device_store(kernel: KernelCore, dev: int, attr: int, buf: int, count: int) -> int:
    """`delete_device`: "0x48" removes the client that has that address."""
    i2c, who = kernel[I2c], prefix(kernel, dev)
    address = _number(kernel.memory.read_text(buf).strip())
    if address is None:
        kernel.printk.emit(f"{who}delete_device: Can't parse I2C address\n", 3)
        return -errno.EINVAL
    for each in i2c.clients(i2c.adapter_of(dev)):
        client = i2c.client_of(each)
        if client.addr == address:
            name = client_name(client).decode()
            kernel.printk.emit(f"{who}delete_device: Deleting device {name} at 0x{address:02x}\n", 6)
            await i2c.remove_client(client)
            return count
    kernel.printk.emit(f"{who}delete_device: Can't find device in list\n", 3)
    return -errno.ENOENT


def _number(text: str) -> int | None:
    try:
        return int(text, 16 if text[:2].lower() == "0x" else 8 if text[:1] == "0" else 10)
    except ValueError:
        return None
