"""The SPI bus: devices behind a controller, their drivers, and messages (drivers/spi/spi.c).

Controllers are Python's (spi_model.py): a message goes there whole; the answer is spread over its transfers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers.attributes import define_class, define_device_type
from kmod_emu.drivers.bus import Buses
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.platform import name_at
from kmod_emu.drivers.spi_model import SpiModels
from kmod_emu.fs.uevent import add_variable
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_NAME_SIZE, _ID_SIZE = 32, 40  # struct spi_device_id: a name, a number
_OF_SIZE, _OF_COMPATIBLE = 200, 64  # struct of_device_id: name, type, compatible, data


def device_of(kernel: KernelCore, dev: int) -> StructView:
    """The SPI device around a device."""
    return kernel.view("spi_device", dev - kernel.profile.offset("spi_device", "dev"))


def driver_of(kernel: KernelCore, driver: int) -> StructView:
    """The SPI driver around a driver."""
    return kernel.view("spi_driver", driver - kernel.profile.offset("spi_driver", "driver"))


def chip_select(spi: StructView) -> int:
    """Which line selects it; the first, where there may be several."""
    return spi.bytes("chip_select")[0]


def match_id(kernel: KernelCore, table: int, name: str) -> int:
    """The entry of that name, 0 for none."""
    while table and (known := kernel.memory.read_cstring(table, _NAME_SIZE).decode("utf-8", "replace")):
        if known == name:
            return table
        table += _ID_SIZE
    return 0


# --- the bus --------------------------------------------------------------------------------------------


@export_data("struct bus_type spi_bus_type", lambda kernel: kernel.profile.struct("bus_type").size + 8)
def spi_bus_type(kernel: KernelCore, address: int) -> None:
    """The bus; its name lies behind it."""
    view = kernel.view("bus_type", address)
    kernel.memory.write(address + view.layout.size, b"spi\0")
    view.set("name", address + view.layout.size)
    for method in ("match", "probe", "remove", "uevent"):
        view.set(method, kernel.symbol(f"spi_bus_{method}"))


define_class("spi_master")
define_device_type(
    "spi_device_type", "spi_device_release", "", {"modalias": (0o444, "spi_modalias_show", "")}
)


@export("int spi_bus_match(struct device *dev, struct device_driver *drv)")
def spi_bus_match(kernel: KernelCore, dev: int, drv: int) -> int:
    """By the driver's table of names, or by its name."""
    name, table = device_of(kernel, dev).text("modalias"), driver_of(kernel, drv).id_table
    if table:
        return int(bool(match_id(kernel, table, name)))
    return int(name_at(kernel, kernel.view("device_driver", drv).get("name")) == name.encode())


@export("int spi_bus_probe(struct device *dev)")
async def spi_bus_probe(kernel: KernelCore, dev: int) -> int:
    """Call the driver's probe."""
    probe = driver_of(kernel, kernel.view("device", dev).driver).probe
    return await kernel.call_guest_int(probe, device_of(kernel, dev).address) if probe else 0


@export("void spi_bus_remove(struct device *dev)")
async def spi_bus_remove(kernel: KernelCore, dev: int) -> None:
    """Call the driver's remove."""
    remove = driver_of(kernel, kernel.view("device", dev).driver).remove
    if remove:
        await kernel.call_guest(remove, device_of(kernel, dev).address)


@export("int spi_bus_uevent(struct device *dev, struct kobj_uevent_env *env)")
def spi_bus_uevent(kernel: KernelCore, dev: int, env: int) -> int:
    """MODALIAS, by which udev finds the module."""
    name = device_of(kernel, dev).text("modalias")
    add_variable(kernel, kernel.view("kobj_uevent_env", env), f"MODALIAS=spi:{name}".encode())
    return 0


@export("ssize_t spi_modalias_show(struct device *dev, struct device_attribute *attr, char *buf)")
def spi_modalias_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`modalias`."""
    text = f"spi:{device_of(kernel, dev).text('modalias')}\n".encode()
    kernel.memory.write(buf, text + b"\0")
    return len(text)


@export("void spi_device_release(struct device *dev)")
def spi_device_release(kernel: KernelCore, dev: int) -> None:
    """Free a device."""
    kernel.heap.kfree(device_of(kernel, dev).address)


# --- devices --------------------------------------------------------------------------------------------


@export("struct spi_device *spi_alloc_device(struct spi_controller *ctlr)")
def spi_alloc_device(kernel: KernelCore, ctlr: StructView) -> int:
    """A device that is not on the bus yet."""
    spi = kernel.view("spi_device", kernel.heap.kmalloc(kernel.profile.struct("spi_device").size))
    spi.controller = ctlr.address
    if spi.has("master"):
        spi.master = ctlr.address
    device = kernel.view("device", spi.addressof("dev"))
    device.parent, device.bus = ctlr.addressof("dev"), kernel.symbol("spi_bus_type")
    device.set("type", kernel.symbol("spi_device_type"))
    kernel[Devices].initialize(device.address)
    return spi.address


@export("int spi_add_device(struct spi_device *spi)")
async def spi_add_device(kernel: KernelCore, spi: StructView) -> int:
    """Put it there; its driver is probed."""
    ctlr, select = kernel.view("spi_controller", spi.controller), chip_select(spi)
    who = prefix(kernel, ctlr.addressof("dev"))
    if select >= ctlr.num_chipselect:
        kernel.printk.emit(f"{who}cs{select} >= max {ctlr.num_chipselect}\n", 3)
        return -errno.EINVAL
    for dev in kernel[Buses].devices(kernel.symbol("spi_bus_type")):
        other = device_of(kernel, dev)
        if (other.controller, chip_select(other)) == (spi.controller, select):
            kernel.printk.emit(f"{who}chipselect {select} already in use\n", 3)
            return -errno.EBUSY
    kernel.kobjects.set_name(spi.addressof("dev"), b"spi%d.%d" % (ctlr.bus_num, select))
    spi_setup(kernel, spi)
    return await kernel[Devices].add(spi.addressof("dev"))


@export("struct spi_device *spi_new_device(struct spi_controller *ctlr, struct spi_board_info *chip)")
async def spi_new_device(kernel: KernelCore, ctlr: StructView, chip: StructView) -> int:
    """A device as a board describes it; NULL on error."""
    spi = kernel.view("spi_device", spi_alloc_device(kernel, ctlr))
    kernel.memory.write_u8(spi.addressof("chip_select"), chip.chip_select & 0xFF)
    spi.max_speed_hz, spi.mode, spi.irq = chip.max_speed_hz, chip.mode, chip.irq
    spi.set_bytes("modalias", chip.bytes("modalias"))
    spi.controller_data = chip.controller_data
    kernel.view("device", spi.addressof("dev")).platform_data = chip.platform_data
    if await spi_add_device(kernel, spi):
        await kernel.kobjects.put(spi.addressof("dev"))
        return 0
    return spi.address


@export("void spi_unregister_device(struct spi_device *spi)")
async def spi_unregister_device(kernel: KernelCore, spi: int) -> None:
    """Remove it."""
    if spi:
        dev = kernel.view("spi_device", spi).addressof("dev")
        await kernel[Devices].delete(dev)
        await kernel.kobjects.put(dev)


@export("int spi_setup(struct spi_device *spi)")
def spi_setup(kernel: KernelCore, spi: StructView) -> int:
    """Mode, speed and size of words: a model takes any."""
    spi.bits_per_word = spi.bits_per_word or 8
    return 0


# --- drivers --------------------------------------------------------------------------------------------


@export("int __spi_register_driver(struct module *owner, struct spi_driver *sdrv)")
async def __spi_register_driver(kernel: KernelCore, owner: int, sdrv: StructView) -> int:
    """A driver: devices that fit are probed."""
    own = kernel.view("device_driver", sdrv.addressof("driver"))
    own.owner, own.bus = owner, kernel.symbol("spi_bus_type")
    compatible, driver = own.of_match_table, kernel.memory.read_text(own.get("name"))
    while compatible and (known := kernel.memory.read_text(compatible + _OF_COMPATIBLE)):
        name = known.partition(",")[2] or known
        if not match_id(kernel, sdrv.id_table, name) and driver != name:
            kernel.printk.emit(f"SPI driver {driver} has no spi_device_id for {known}\n", 4)
        compatible += _OF_SIZE
    return await kernel[Buses].register_driver(own.address)


@export("const struct spi_device_id *spi_get_device_id(const struct spi_device *sdev)")
def spi_get_device_id(kernel: KernelCore, sdev: StructView) -> int:
    """The entry of its driver's table that names a device."""
    driver = kernel.view("device", sdev.addressof("dev")).driver
    return match_id(kernel, driver_of(kernel, driver).id_table, sdev.text("modalias")) if driver else 0


# --- messages -------------------------------------------------------------------------------------------


def exchange_message(kernel: KernelCore, spi: StructView, message: StructView) -> int:
    """Send a message and receive its answer: 0 or a negative errno."""
    offset, head = kernel.profile.offset("spi_transfer", "transfer_list"), message.addressof("transfers")
    entries = lists.walk(kernel.memory, head)
    transfers = [kernel.view("spi_transfer", entry - offset) for entry in entries]
    if not transfers:
        return -errno.EINVAL
    parts = [
        kernel.memory.read(each.tx_buf, each.len) if each.tx_buf else bytes(each.len) for each in transfers
    ]
    sent = b"".join(parts)
    bus = kernel.view("spi_controller", spi.controller).bus_num
    try:
        answer = kernel[SpiModels].exchange(bus, chip_select(spi), sent)
    except OSError as error:
        return -(error.errno or errno.EIO)
    for each in transfers:
        piece, answer = answer[: each.len], answer[each.len :]
        if each.rx_buf:
            kernel.memory.write(each.rx_buf, piece)
    message.frame_length = message.actual_length = len(sent)
    return 0


def _run(kernel: KernelCore, spi: StructView, message: StructView) -> int:
    message.spi = spi.address
    message.actual_length = 0
    message.status = error = exchange_message(kernel, spi, message)
    return error


def _define_sync() -> None:
    for name in ("spi_sync", "spi_sync_locked"):

        @export(f"int {name}(struct spi_device *spi, struct spi_message *message)")
        def sync(kernel: KernelCore, spi: StructView, message: StructView) -> int:
            """A message, and wait until it is over."""
            return _run(kernel, spi, message)


_define_sync()


@export("int spi_async(struct spi_device *spi, struct spi_message *message)", Fidelity.APPROXIMATE)
async def spi_async(kernel: KernelCore, spi: StructView, message: StructView) -> int:
    """A message whose complete() is called when it is over: before this returns."""
    _run(kernel, spi, message)
    if message.complete:
        await kernel.call_guest(message.complete, message.context)
    return 0


@export(
    "int spi_write_then_read(struct spi_device *spi, const void *txbuf, unsigned n_tx, void *rxbuf,"
    " unsigned n_rx)"
)
def spi_write_then_read(
    kernel: KernelCore, spi: StructView, txbuf: int, n_tx: int, rxbuf: int, n_rx: int
) -> int:
    """Bytes out, then bytes in, in one message."""
    sent = kernel.memory.read(txbuf, n_tx) + bytes(n_rx)
    bus = kernel.view("spi_controller", spi.controller).bus_num
    try:
        answer = kernel[SpiModels].exchange(bus, chip_select(spi), sent)
    except OSError as error:
        return -(error.errno or errno.EIO)
    kernel.memory.write(rxbuf, answer[n_tx:])
    return 0


async def announce(kernel: KernelCore, bus: int, select: int, name: str, irq: int) -> int:
    """Make a device of a model, as a board's description does; 0 if it cannot be."""
    layout = kernel.profile.struct("spi_board_info")
    info = kernel.view("spi_board_info", kernel.heap.kmalloc(layout.size))
    info.set_bytes("modalias", name.encode())
    info.chip_select, info.irq, info.max_speed_hz = select, irq, 1_000_000
    spi = await spi_new_device(kernel, kernel[SpiModels].controller(bus), info)
    kernel.heap.kfree(info.address)
    return spi


@export(
    "int spi_mem_driver_register_with_owner(struct spi_mem_driver *memdrv, struct module *owner)",
    Fidelity.REGISTRATION,
)
async def spi_mem_driver_register_with_owner(kernel: KernelCore, memdrv: StructView, owner: int) -> int:
    """A driver of memory chips: of no device here (drivers/spi/spi-mem.c)."""
    own = kernel.view("spi_driver", memdrv.addressof("spidrv"))
    return await __spi_register_driver(kernel, owner, own)


@export("void spi_mem_driver_unregister(struct spi_mem_driver *memdrv)", Fidelity.REGISTRATION)
async def spi_mem_driver_unregister(kernel: KernelCore, memdrv: StructView) -> None:
    """It goes (drivers/spi/spi-mem.c)."""
    own = kernel.view("spi_driver", memdrv.addressof("spidrv"))
    await kernel[Buses].unregister_driver(own.addressof("driver"))
