"""Interrupts, mappings and regions that go with a device's driver (lib/devres.c, kernel/irq/devres.c)."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from kmod_emu.drivers import devres
from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.kernel.dma import dma_alloc_attrs, dma_free_attrs
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.irq_manage import free_irq, request_threaded_irq
from kmod_emu.kernel.resource import __release_region as release_region
from kmod_emu.kernel.resource import __request_region as request_region
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def _keep(kernel: KernelCore, dev: int, release: str, *facts: int) -> None:
    """Have a release function called with these facts as its resource."""
    res = devres.devres_alloc_node(kernel, kernel.symbol(release), 8 * len(facts), 0, 0)
    kernel.memory.write(res, pack(f"<{len(facts)}Q", *facts))
    devres.devres_add(kernel, dev, res)


async def _take(kernel: KernelCore, dev: int, release: str, *facts: int) -> bool:
    """Do not; False if there is none."""

    async def same(res: int) -> bool:
        return all(kernel.memory.read_u64(res + 8 * index) == fact for index, fact in enumerate(facts))

    res = await devres.remove(kernel, dev, kernel.symbol(release), same)
    devres.devres_free(kernel, res)
    return bool(res)


# --- interrupts -----------------------------------------------------------------------------------------


@export("void devm_irq_release(struct device *dev, void *res)")
async def devm_irq_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Free a line."""
    await free_irq(kernel, kernel.memory.read_u64(res), kernel.memory.read_u64(res + 8))


@export(
    "int devm_request_threaded_irq(struct device *dev, unsigned int irq, irq_handler_t handler,"
    " irq_handler_t thread_fn, unsigned long irqflags, const char *devname, void *dev_id)"
)
def devm_request_threaded_irq(
    kernel: KernelCore,
    dev: int,
    irq: int,
    handler: int,
    thread_fn: int,
    irqflags: int,
    devname: int,
    dev_id: int,
) -> int:
    """An interrupt handler that goes with the driver (kernel/irq/devres.c)."""
    name = devname or kernel.view("kobject", dev).get("name")
    error = request_threaded_irq(kernel, irq, handler, thread_fn, irqflags, name, dev_id)
    if not error:
        _keep(kernel, dev, "devm_irq_release", irq, dev_id)
    return error


@export("void devm_free_irq(struct device *dev, unsigned int irq, void *dev_id)")
async def devm_free_irq(kernel: KernelCore, dev: int, irq: int, dev_id: int) -> None:
    """Free it earlier (kernel/irq/devres.c)."""
    if not await _take(kernel, dev, "devm_irq_release", irq, dev_id):
        kernel.warnings.warn("kernel/irq/devres.c", 143, "", "devm_free_irq+0x6f/0x80")
    await free_irq(kernel, irq, dev_id)


# --- device memory and ports ----------------------------------------------------------------------------


@export("void devm_ioremap_release(struct device *dev, void *res)")
def devm_ioremap_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Remove a mapping."""
    kernel.io_mappings.unmap(kernel.memory.read_u64(res))


def _remap(kernel: KernelCore, dev: int, offset: int, size: int) -> int:
    address = kernel.io_mappings.map(offset, size)
    if address:
        _keep(kernel, dev, "devm_ioremap_release", address)
    return address


def _define_maps() -> None:
    def define(name: str) -> None:
        @export(f"void *{name}(struct device *dev, resource_size_t offset, resource_size_t size)")
        def remap(kernel: KernelCore, dev: int, offset: int, size: int) -> int:
            """ioremap() until the driver's end (lib/devres.c)."""
            return _remap(kernel, dev, offset, size)

    for name in ("devm_ioremap", "devm_ioremap_wc", "devm_ioremap_uc"):
        define(name)


_define_maps()


@export("void devm_iounmap(struct device *dev, void *addr)")
async def devm_iounmap(kernel: KernelCore, dev: int, addr: int) -> None:
    """Unmap it earlier (lib/devres.c)."""
    if not await _take(kernel, dev, "devm_ioremap_release", addr):
        kernel.warnings.warn("lib/devres.c", 115, "", "devm_iounmap+0x27/0x40")
    kernel.io_mappings.unmap(addr)


@export("void *devm_ioremap_resource(struct device *dev, const struct resource *res)")
def devm_ioremap_resource(kernel: KernelCore, dev: int, res: int) -> int:
    """Claim a resource and map it; an error pointer if that fails (lib/devres.c)."""
    own_name = kernel.view("kobject", dev).get("name")
    view = kernel.view("resource", res) if res else None
    if view is None or view.flags & 0x1F00 != 0x200:
        what = "(null)" if view is None else f"[{view.start:#010x}-{view.end:#010x}]"
        kernel.printk.emit(f"{prefix(kernel, dev)}invalid resource {what}\n", 3)
        return -errno.EINVAL
    size = view.end - view.start + 1
    parent = kernel.symbol("iomem_resource")
    if not __devm_request_region(kernel, dev, parent, view.start, size, view.get("name") or own_name):
        place = f"[mem {view.start:#010x}-{view.end:#010x}]"
        kernel.printk.emit(f"{prefix(kernel, dev)}can't request region for resource {place}\n", 3)
        return -errno.EBUSY
    return _remap(kernel, dev, view.start, size) or -errno.ENOMEM


@export("void devm_region_release(struct device *dev, void *res)")
def devm_region_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Give a region back."""
    parent, start, size = (kernel.memory.read_u64(res + offset) for offset in (0, 8, 16))
    release_region(kernel, parent, start, size)


@export(
    "struct resource *__devm_request_region(struct device *dev, struct resource *parent,"
    " resource_size_t start, resource_size_t n, const char *name)"
)
def __devm_request_region(kernel: KernelCore, dev: int, parent: int, start: int, n: int, name: int) -> int:
    """request_region() until the driver's end (kernel/resource.c)."""
    region = request_region(kernel, parent, start, n, name, 0)
    if region:
        _keep(kernel, dev, "devm_region_release", parent, start, n)
    return region


@export(
    "void __devm_release_region(struct device *dev, struct resource *parent, resource_size_t start,"
    " resource_size_t n)"
)
async def __devm_release_region(kernel: KernelCore, dev: int, parent: int, start: int, n: int) -> None:
    """Give it back earlier (kernel/resource.c)."""
    release_region(kernel, parent, start, n)
    if not await _take(kernel, dev, "devm_region_release", parent, start, n):
        kernel.warnings.warn("kernel/resource.c", 1636, "", "__devm_release_region+0x70/0x80")


# --- DMA memory -----------------------------------------------------------------------------------------


@export("void dmam_release(struct device *dev, void *res)")
def dmam_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Free it."""
    size, vaddr, handle = (kernel.memory.read_u64(res + offset) for offset in (0, 8, 16))
    dma_free_attrs(kernel, dev, size, vaddr, handle, 0)


@export(
    "void *dmam_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma_handle, gfp_t gfp,"
    " unsigned long attrs)"
)
def dmam_alloc_attrs(kernel: KernelCore, dev: int, size: int, dma_handle: int, gfp: int, attrs: int) -> int:
    """dma_alloc_attrs() until the driver's end (kernel/dma/mapping.c)."""
    vaddr = dma_alloc_attrs(kernel, dev, size, dma_handle, gfp, attrs)
    if vaddr:
        _keep(kernel, dev, "dmam_release", size, vaddr, kernel.memory.read_u64(dma_handle))
    return vaddr


@export("void dmam_free_coherent(struct device *dev, size_t size, void *vaddr, dma_addr_t dma_handle)")
async def dmam_free_coherent(kernel: KernelCore, dev: int, size: int, vaddr: int, dma_handle: int) -> None:
    """Free it earlier (kernel/dma/mapping.c)."""
    dma_free_attrs(kernel, dev, size, vaddr, dma_handle, 0)
    if not await _take(kernel, dev, "dmam_release", size, vaddr, dma_handle):
        kernel.warnings.warn("kernel/dma/mapping.c", 68, "", "dmam_free_coherent+0x9b/0xa0")
