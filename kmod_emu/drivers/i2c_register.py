"""What modules call to register I2C adapters, clients and drivers (drivers/i2c/i2c-core-base.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers import devres
from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import error_pointer
from kmod_emu.drivers.i2c import I2c, client_name, match_id
from kmod_emu.drivers.i2c_transfer import answers
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_END = 0xFFFE  # I2C_CLIENT_END


def _pointer(result: int) -> int:
    return error_pointer(result) if result < 0 else result


def _keep(kernel: KernelCore, dev: int, release: str, address: int) -> None:
    res = devres.devres_alloc_node(kernel, kernel.symbol(release), 8, 0, 0)
    kernel.memory.write_u64(res, address)
    devres.devres_add(kernel, dev, res)


# --- adapters -------------------------------------------------------------------------------------------


@export("int i2c_add_adapter(struct i2c_adapter *adapter)")
async def i2c_add_adapter(kernel: KernelCore, adapter: StructView) -> int:
    """A bus with the next free number."""
    return await kernel[I2c].add_adapter(adapter)


@export("int i2c_add_numbered_adapter(struct i2c_adapter *adap)")
async def i2c_add_numbered_adapter(kernel: KernelCore, adap: StructView) -> int:
    """A bus with the number that its driver gave it, -1 for any."""
    return await kernel[I2c].add_adapter(adap, adap.signed("nr"))


@export("void i2c_del_adapter(struct i2c_adapter *adap)")
async def i2c_del_adapter(kernel: KernelCore, adap: StructView) -> None:
    """Remove a bus with all that is on it."""
    await kernel[I2c].remove_adapter(adap)


@export("int devm_i2c_add_adapter(struct device *dev, struct i2c_adapter *adapter)")
async def devm_i2c_add_adapter(kernel: KernelCore, dev: int, adapter: StructView) -> int:
    """A bus until the driver's end."""
    error = await kernel[I2c].add_adapter(adapter)
    if not error:
        _keep(kernel, dev, "devm_i2c_del_adapter", adapter.address)
    return error


@export("void devm_i2c_del_adapter(struct device *dev, void *res)")
async def devm_i2c_del_adapter(kernel: KernelCore, dev: int, res: int) -> None:
    """That end."""
    await kernel[I2c].remove_adapter(kernel.view("i2c_adapter", kernel.memory.read_u64(res)))


@export("struct i2c_adapter *i2c_get_adapter(int nr)")
def i2c_get_adapter(kernel: KernelCore, nr: int) -> int:
    """The bus of a number, its module pinned; NULL if there is none."""
    address = kernel[I2c].adapters.get(nr, 0)
    if address:
        adapter = kernel.view("i2c_adapter", address)
        if not kernel.try_module_get(adapter.owner):
            return 0
        kernel.kobjects.get(adapter.addressof("dev"))
    return address


@export("void i2c_put_adapter(struct i2c_adapter *adap)")
async def i2c_put_adapter(kernel: KernelCore, adap: int) -> None:
    """Give it back."""
    if adap:
        adapter = kernel.view("i2c_adapter", adap)
        kernel.module_put(adapter.owner)
        await kernel.kobjects.put(adapter.addressof("dev"))


@export("struct i2c_adapter *i2c_verify_adapter(struct device *dev)")
def i2c_verify_adapter(kernel: KernelCore, dev: int) -> int:
    """The adapter around a device, NULL if it is none."""
    is_one = kernel.view("device", dev).get("type") == kernel.symbol("i2c_adapter_type")
    return kernel[I2c].adapter_of(dev).address if is_one else 0


@export("int i2c_for_each_dev(void *data, int (*fn)(struct device *, void *))")
async def i2c_for_each_dev(kernel: KernelCore, data: int, fn: int) -> int:
    """Call a function for each adapter and client."""
    for dev in kernel[Buses].devices(kernel.symbol("i2c_bus_type")):
        if result := await kernel.call_guest_int(fn, dev, data):
            return result
    return 0


# --- clients --------------------------------------------------------------------------------------------


@export(
    "struct i2c_client *i2c_new_client_device(struct i2c_adapter *adap, struct i2c_board_info const *info)"
)
async def i2c_new_client_device(kernel: KernelCore, adap: StructView, info: StructView) -> int:
    """A chip that the module knows to be there; its driver is probed."""
    return _pointer(await kernel[I2c].new_client(adap, info))


@export("struct i2c_client *i2c_new_device(struct i2c_adapter *adap, struct i2c_board_info const *info)")
async def i2c_new_device(kernel: KernelCore, adap: StructView, info: StructView) -> int:
    """i2c_new_client_device's predecessor: NULL on error."""
    return max(await kernel[I2c].new_client(adap, info), 0)


async def _dummy(kernel: KernelCore, adap: StructView, address: int) -> int:
    info = kernel.view("i2c_board_info", kernel.heap.kmalloc(kernel.profile.struct("i2c_board_info").size))
    info.set_bytes("type", b"dummy")
    info.addr = address
    client = await kernel[I2c].new_client(adap, info)
    kernel.heap.kfree(info.address)
    return client


@export("struct i2c_client *i2c_new_dummy_device(struct i2c_adapter *adapter, u16 address)")
async def i2c_new_dummy_device(kernel: KernelCore, adapter: StructView, address: int) -> int:
    """Claim one more address of a chip."""
    return _pointer(await _dummy(kernel, adapter, address))


@export(
    "struct i2c_client *devm_i2c_new_dummy_device(struct device *dev, struct i2c_adapter *adap, u16 address)"
)
async def devm_i2c_new_dummy_device(kernel: KernelCore, dev: int, adap: StructView, address: int) -> int:
    """Likewise, until the driver's end."""
    client = await _dummy(kernel, adap, address)
    if client > 0:
        _keep(kernel, dev, "devm_i2c_release_dummy", client)
    return _pointer(client)


@export("void devm_i2c_release_dummy(struct device *dev, void *res)")
async def devm_i2c_release_dummy(kernel: KernelCore, dev: int, res: int) -> None:
    """That end."""
    await kernel[I2c].remove_client(kernel.view("i2c_client", kernel.memory.read_u64(res)))


@export(
    "struct i2c_client *i2c_new_scanned_device(struct i2c_adapter *adap, struct i2c_board_info *info,"
    " unsigned short const *addr_list, int (*probe)(struct i2c_adapter *adap, unsigned short addr))"
)
async def i2c_new_scanned_device(
    kernel: KernelCore, adap: StructView, info: StructView, addr_list: int, probe: int
) -> int:
    """A chip at the first address of a list at which something answers."""
    while (address := kernel.memory.read_u16(addr_list)) != _END:
        addr_list += 2
        if not 0x08 <= address <= 0x77 or kernel[I2c].busy(adap, address):
            continue
        if probe:
            found = bool(await kernel.call_guest_int(probe, adap.address, address))
        else:
            found = await answers(kernel, adap, address)
        if found:
            info.addr = address
            return _pointer(await kernel[I2c].new_client(adap, info))
    return error_pointer(-errno.ENODEV)


@export("void i2c_unregister_device(struct i2c_client *client)")
async def i2c_unregister_device(kernel: KernelCore, client: int) -> None:
    """Remove a chip; its driver's remove is called."""
    if client and client < (1 << 64) - 4095:
        await kernel[I2c].remove_client(kernel.view("i2c_client", client))


@export("struct i2c_client *i2c_verify_client(struct device *dev)")
def i2c_verify_client(kernel: KernelCore, dev: int) -> int:
    """The client around a device, NULL if it is none."""
    return kernel[I2c].client_of(dev).address if kernel[I2c].is_client(dev) else 0


@export("struct i2c_client *i2c_use_client(struct i2c_client *client)")
def i2c_use_client(kernel: KernelCore, client: int) -> int:
    """One more reference."""
    if client:
        kernel.kobjects.get(kernel.view("i2c_client", client).addressof("dev"))
    return client


@export("void i2c_release_client(struct i2c_client *client)")
async def i2c_release_client(kernel: KernelCore, client: int) -> None:
    """One reference less."""
    if client:
        await kernel.kobjects.put(kernel.view("i2c_client", client).addressof("dev"))


# --- drivers --------------------------------------------------------------------------------------------


@export("int i2c_register_driver(struct module *owner, struct i2c_driver *driver)")
async def i2c_register_driver(kernel: KernelCore, owner: int, driver: StructView) -> int:
    """A driver: clients that are in its tables are probed, and what it can detect is looked for."""
    own = kernel.view("device_driver", driver.addressof("driver"))
    own.owner, own.bus = owner, kernel.symbol("i2c_bus_type")
    lists.init(kernel.memory, driver.addressof("clients"))
    error = await kernel[Buses].register_driver(own.address)
    if not error and driver.detect and driver.address_list:
        for adapter in list(kernel[I2c].adapters.values()):
            await _detect(kernel, kernel.view("i2c_adapter", adapter), driver)
    return error


async def _detect(kernel: KernelCore, adapter: StructView, driver: StructView) -> None:
    """i2c_detect(): where something answers at an address of its list, the driver says what it is."""
    if not adapter.get("class") & driver.get("class"):
        return
    address_list = driver.address_list
    while (address := kernel.memory.read_u16(address_list)) != _END:
        address_list += 2
        if kernel[I2c].busy(adapter, address) or not await answers(kernel, adapter, address):
            continue
        probe = kernel.view("i2c_client", kernel.heap.kmalloc(kernel.profile.struct("i2c_client").size))
        layout = kernel.profile.struct("i2c_board_info")
        info = kernel.view("i2c_board_info", kernel.heap.kmalloc(layout.size))
        probe.adapter, probe.addr, info.addr = adapter.address, address, address
        if not await kernel.call_guest_int(driver.detect, probe.address, info.address) and info.text("type"):
            client = await kernel[I2c].new_client(adapter, info)
            if client > 0:
                detected = kernel.view("i2c_client", client).addressof("detected")
                lists.add_tail(kernel.memory, detected, driver.addressof("clients"))
        kernel.heap.kfree(info.address)
        kernel.heap.kfree(probe.address)


@export("void i2c_del_driver(struct i2c_driver *driver)")
async def i2c_del_driver(kernel: KernelCore, driver: StructView) -> None:
    """Remove it, and the clients that it detected."""
    offset = kernel.profile.offset("i2c_client", "detected")
    head = driver.addressof("clients")
    for entry in list(lists.walk(kernel.memory, head)):
        lists.delete_init(kernel.memory, entry)
        await kernel[I2c].remove_client(kernel.view("i2c_client", entry - offset))
    await kernel[Buses].unregister_driver(driver.addressof("driver"))


@export(
    "const struct i2c_device_id *i2c_match_id(const struct i2c_device_id *id,"
    " const struct i2c_client *client)"
)
def i2c_match_id(kernel: KernelCore, id: int, client: StructView) -> int:
    """The entry of a table that names a client's chip."""
    return match_id(kernel, id, client_name(client))


@export("const struct i2c_device_id *i2c_client_get_device_id(const struct i2c_client *client)")
def i2c_client_get_device_id(kernel: KernelCore, client: StructView) -> int:
    """The entry of its driver's table that names it."""
    driver = kernel.view("device", client.addressof("dev")).driver
    return match_id(kernel, kernel[I2c].driver_of(driver).id_table, client_name(client)) if driver else 0
