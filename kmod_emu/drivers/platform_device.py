"""Devices on the platform bus, and what drivers ask them for (drivers/base/platform.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices, error_pointer
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.drivers.devres_io import devm_ioremap_resource
from kmod_emu.drivers.platform import Platform, __platform_driver_probe, name_at
from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.resource import name_of, release_resource, request_resource
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_ID_NONE, _ID_AUTO = -1, -2
IO, MEM, IRQ = 0x100, 0x200, 0x400
_TYPES = 0x1F00


async def create_device(kernel: KernelCore, name: str, resources: list[tuple[int, int, int]]) -> int:
    """A device of the board, with resources as (first, last, type).

    Raises:
        KernelError: It cannot be registered.
    """
    pdev = platform_device_alloc(kernel, name.encode(), _ID_NONE)
    size = kernel.profile.struct("resource").size
    table = kernel.heap.kmalloc(max(1, len(resources)) * size)
    for index, (first, last, kind) in enumerate(resources):
        view = kernel.view("resource", table + index * size)
        view.start, view.end, view.flags = first, last, kind
    kernel.view("platform_device", pdev).resource = table
    kernel.view("platform_device", pdev).num_resources = len(resources)
    error = await platform_device_add(kernel, pdev)
    if error:
        raise KernelError(-error, f"the platform device {name} cannot be registered")
    return pdev


def _resources(kernel: KernelCore, pdev: int) -> Iterator[StructView]:
    view, size = kernel.view("platform_device", pdev), kernel.profile.struct("resource").size
    for index in range(view.num_resources):
        yield kernel.view("resource", view.resource + index * size)


def _dev(kernel: KernelCore, pdev: int) -> int:
    return pdev + kernel.profile.offset("platform_device", "dev")


@export("struct platform_device *platform_device_alloc(const char *name, int id)")
def platform_device_alloc(kernel: KernelCore, name: bytes, id_: int) -> int:
    """A device on the heap, its name behind it (drivers/base/platform.c)."""
    size = kernel.profile.struct("platform_device").size
    pdev = kernel.heap.kmalloc(size + len(name) + 1)
    if not pdev:
        return 0
    kernel.memory.write(pdev + size, name + b"\0")
    view = kernel.view("platform_device", pdev)
    view.set("name", pdev + size)
    view.id = id_
    kernel[Devices].initialize(_dev(kernel, pdev))
    kernel.view("device", _dev(kernel, pdev)).release = kernel.symbol("platform_device_release")
    return pdev


@export("void platform_device_release(struct device *dev)")
def platform_device_release(kernel: KernelCore, dev: int) -> None:
    """Free what platform_device_alloc() made."""
    pdev = kernel[Platform].device_of(dev)
    for place in (kernel.view("device", dev).platform_data, pdev.resource, pdev.address):
        if place:
            kernel.heap.kfree(place)


def _attach(kernel: KernelCore, source: int, size: int) -> int:
    """A copy on the heap; 0 for nothing."""
    if not source or not size:
        return 0
    place = kernel.heap.kmalloc(size)
    kernel.memory.write(place, kernel.memory.read(source, size))
    return place


@export(
    "int platform_device_add_resources(struct platform_device *pdev, const struct resource *res,"
    " unsigned int num)"
)
def platform_device_add_resources(kernel: KernelCore, pdev: StructView, res: int, num: int) -> int:
    """Give a device a copy of resources (drivers/base/platform.c)."""
    pdev.resource = _attach(kernel, res, num * kernel.profile.struct("resource").size)
    pdev.num_resources = num
    return 0


@export("int platform_device_add_data(struct platform_device *pdev, const void *data, size_t size)")
def platform_device_add_data(kernel: KernelCore, pdev: int, data: int, size: int) -> int:
    """Give a device a copy of its platform data (drivers/base/platform.c)."""
    kernel.view("device", _dev(kernel, pdev)).platform_data = _attach(kernel, data, size)
    return 0


@export("int platform_device_add(struct platform_device *pdev)")
async def platform_device_add(kernel: KernelCore, pdev: int) -> int:
    """Name it, claim its resources, show it and find its driver (drivers/base/platform.c)."""
    if not pdev:
        return -errno.EINVAL
    view, dev = kernel.view("platform_device", pdev), _dev(kernel, pdev)
    device, name = kernel.view("device", dev), name_at(kernel, view.get("name"))
    device.parent = device.parent or kernel.symbol("platform_bus")
    device.bus = kernel.symbol("platform_bus_type")
    number = view.signed("id")
    if number == _ID_AUTO:
        view.id, view.id_auto = kernel[Platform].auto_id(), 1
        name += b".%d.auto" % view.id
    elif number != _ID_NONE:
        name += b".%d" % number
    kernel.kobjects.set_name(dev, name)
    claimed: list[int] = []
    error = 0
    for index, resource in enumerate(_resources(kernel, pdev)):
        if not resource.get("name"):
            resource.set("name", kernel.view("kobject", dev).get("name"))
        root = {IO: "ioport_resource", MEM: "iomem_resource"}.get(resource.flags & _TYPES)
        if root is None:
            continue
        try:
            request_resource(kernel, resource.parent or kernel.symbol(root), resource.address)
        except KernelError:
            kind = "io " if root == "ioport_resource" else "mem"
            where = f"[{kind} {resource.start:#010x}-{resource.end:#010x}]"
            kernel.printk.emit(f"{prefix(kernel, dev)}failed to claim resource {index}: {where}\n", 3)
            error = -errno.EBUSY
            break
        claimed.append(resource.address)
    error = error or await kernel[Devices].add(dev)
    for place in claimed if error else ():
        release_resource(kernel, place)
    return error


@export("int platform_device_register(struct platform_device *pdev)")
async def platform_device_register(kernel: KernelCore, pdev: int) -> int:
    """Register a device that is not on the heap (drivers/base/platform.c)."""
    kernel[Devices].initialize(_dev(kernel, pdev))
    return await platform_device_add(kernel, pdev)


@export("void platform_device_del(struct platform_device *pdev)")
async def platform_device_del(kernel: KernelCore, pdev: int) -> None:
    """Remove it; its driver's remove is called (drivers/base/platform.c)."""
    if not pdev or pdev >= (1 << 64) - 4095:
        return
    await kernel[Devices].delete(_dev(kernel, pdev))
    for resource in _resources(kernel, pdev):
        if resource.parent:
            release_resource(kernel, resource.address)


@export("void platform_device_put(struct platform_device *pdev)")
async def platform_device_put(kernel: KernelCore, pdev: int) -> None:
    """Drop it (drivers/base/platform.c)."""
    if pdev and pdev < (1 << 64) - 4095:
        await kernel.kobjects.put(_dev(kernel, pdev))


@export("void platform_device_unregister(struct platform_device *pdev)")
async def platform_device_unregister(kernel: KernelCore, pdev: int) -> None:
    """Both (drivers/base/platform.c)."""
    await platform_device_del(kernel, pdev)
    await platform_device_put(kernel, pdev)


@export("int platform_add_devices(struct platform_device **devs, int num)")
async def platform_add_devices(kernel: KernelCore, devs: int, num: int) -> int:
    """Register several, all or none (drivers/base/platform.c)."""
    added: list[int] = []
    for index in range(num):
        pdev = kernel.memory.read_u64(devs + 8 * index)
        error = await platform_device_register(kernel, pdev)
        if error:
            for other in reversed(added):
                await platform_device_unregister(kernel, other)
            return error
        added.append(pdev)
    return 0


@export("struct platform_device *platform_device_register_full(const struct platform_device_info *pdevinfo)")
async def platform_device_register_full(kernel: KernelCore, pdevinfo: StructView) -> int:
    """A device from a description: platform_device_register_simple() (drivers/base/platform.c)."""
    pdev = platform_device_alloc(kernel, name_at(kernel, pdevinfo.get("name")), pdevinfo.signed("id"))
    view = kernel.view("platform_device", pdev)
    kernel.view("device", _dev(kernel, pdev)).parent = pdevinfo.parent
    platform_device_add_resources(kernel, view, pdevinfo.res, pdevinfo.num_res)
    platform_device_add_data(kernel, pdev, pdevinfo.data, pdevinfo.size_data)
    error = await platform_device_add(kernel, pdev)
    if error:
        await platform_device_put(kernel, pdev)
        return error
    return pdev


# --- what drivers ask for -------------------------------------------------------------------------------


@export(
    "struct resource *platform_get_resource(struct platform_device *dev, unsigned int type, unsigned int num)"
)
def platform_get_resource(kernel: KernelCore, dev: int, type_: int, num: int) -> int:
    """The resource of that type and number, or NULL (drivers/base/platform.c)."""
    fitting = [each.address for each in _resources(kernel, dev) if each.flags & _TYPES == type_ & _TYPES]
    return fitting[num] if num < len(fitting) else 0


@export(
    "struct resource *platform_get_resource_byname(struct platform_device *dev, unsigned int type,"
    " const char *name)"
)
def platform_get_resource_byname(kernel: KernelCore, dev: int, type_: int, name: str) -> int:
    """The resource of that type and name, or NULL (drivers/base/platform.c)."""
    for each in _resources(kernel, dev):
        if each.flags & _TYPES == type_ & _TYPES and name_of(kernel, each.address) == name:
            return each.address
    return 0


@export("int platform_get_irq_optional(struct platform_device *dev, unsigned int num)")
def platform_get_irq_optional(kernel: KernelCore, dev: int, num: int) -> int:
    """An interrupt line of the device, or ENXIO (drivers/base/platform.c)."""
    resource = platform_get_resource(kernel, dev, IRQ, num)
    return kernel.view("resource", resource).start if resource else -errno.ENXIO


@export("int platform_get_irq(struct platform_device *dev, unsigned int num)")
def platform_get_irq(kernel: KernelCore, dev: int, num: int) -> int:
    """Likewise, with a message (drivers/base/platform.c)."""
    line = platform_get_irq_optional(kernel, dev, num)
    if line < 0:
        kernel.printk.emit(f"{prefix(kernel, _dev(kernel, dev))}IRQ index {num} not found\n", 3)
    return line


@export("int platform_irq_count(struct platform_device *dev)")
def platform_irq_count(kernel: KernelCore, dev: int) -> int:
    """How many lines it has (drivers/base/platform.c)."""
    return sum(each.flags & _TYPES == IRQ for each in _resources(kernel, dev))


@export("void *devm_platform_ioremap_resource(struct platform_device *pdev, unsigned int index)")
def devm_platform_ioremap_resource(kernel: KernelCore, pdev: int, index: int) -> int:
    """Claim and map a memory resource (drivers/base/platform.c)."""
    resource = platform_get_resource(kernel, pdev, MEM, index)
    return devm_ioremap_resource(kernel, _dev(kernel, pdev), resource)


@export(
    "struct platform_device *__platform_create_bundle(struct platform_driver *driver,"
    " int (*probe)(struct platform_device *), struct resource *res, unsigned int n_res, const void *data,"
    " size_t size, struct module *module)"
)
async def __platform_create_bundle(
    kernel: KernelCore, driver: int, probe: int, res: int, n_res: int, data: int, size: int, module: int
) -> int:
    """A driver with its only device: both, or none (drivers/base/platform.c)."""
    own = kernel.view("device_driver", driver + kernel.profile.offset("platform_driver", "driver"))
    pdev = platform_device_alloc(kernel, kernel.memory.read_cstring(own.get("name")), -1)
    view = kernel.view("platform_device", pdev)
    error = platform_device_add_resources(kernel, view, res, n_res)
    error = error or platform_device_add_data(kernel, pdev, data, size)
    error = error or await platform_device_add(kernel, pdev)
    if not error and (error := await __platform_driver_probe(kernel, driver, probe, module)):
        await platform_device_del(kernel, pdev)
    if error:
        await platform_device_put(kernel, pdev)
        return error_pointer(error)
    return pdev
