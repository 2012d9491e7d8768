"""DMA for devices that see all of RAM, as without an IOMMU (kernel/dma/mapping.c, direct.c).

A bus address is the physical address, and caches are coherent: mapping is arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.layout import STRUCT_PAGE_SIZE, VMEMMAP_START
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.machine.memory import PAGE_SHIFT
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_MAPPING_ERROR = (1 << 64) - 1
_FILE = "kernel/dma/mapping.c"


def _device_mask(kernel: KernelCore, dev: int) -> int:
    mask = kernel.view("device", dev).dma_mask
    return kernel.memory.read_u64(mask) if mask else 0


@export(
    "void *dma_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma_handle, gfp_t flag,"
    " unsigned long attrs)"
)
def dma_alloc_attrs(kernel: KernelCore, dev: int, size: int, dma_handle: int, flag: int, attrs: int) -> int:
    """Memory that a device and the processor share; NULL beyond the device's coherent mask."""
    mask = kernel.view("device", dev).coherent_dma_mask
    if not mask:
        kernel.warnings.warn_once(_FILE, 499, "", "dma_alloc_attrs+0x45/0x60")
    address = kernel.pages.allocate((max(size - 1, 0) >> PAGE_SHIFT).bit_length())
    paddr = address - kernel.direct_address(0)
    if address and paddr + size - 1 > mask:
        kernel.pages.free(address)
        return 0
    if address:
        kernel.memory.write_u64(dma_handle, paddr)
    return address


@export(
    "void dma_free_attrs(struct device *dev, size_t size, void *cpu_addr, dma_addr_t dma_handle,"
    " unsigned long attrs)"
)
def dma_free_attrs(
    kernel: KernelCore, dev: int, size: int, cpu_addr: int, dma_handle: int, attrs: int
) -> None:
    """Free what dma_alloc_attrs gave."""
    if cpu_addr:
        kernel.pages.free(cpu_addr)


def _map(kernel: KernelCore, dev: int, paddr: int, size: int) -> int:
    """The bus address; DMA_MAPPING_ERROR beyond the device's mask."""
    return paddr if paddr + size - 1 <= _device_mask(kernel, dev) else _MAPPING_ERROR


@export(
    "dma_addr_t dma_map_page_attrs(struct device *dev, struct page *page, size_t offset, size_t size,"
    " enum dma_data_direction dir, unsigned long attrs)"
)
def dma_map_page_attrs(
    kernel: KernelCore, dev: int, page: int, offset: int, size: int, dir: int, attrs: int
) -> int:
    """The bus address of a part of a page."""
    if not kernel.view("device", dev).dma_mask:
        kernel.warnings.warn_once(_FILE, 152, "", "dma_map_page_attrs+0x1d0/0x270")
        return _MAPPING_ERROR
    paddr = (page - VMEMMAP_START) // STRUCT_PAGE_SIZE << PAGE_SHIFT
    return _map(kernel, dev, paddr + offset, size)


@export(
    "dma_addr_t dma_map_phys(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction dir,"
    " unsigned long attrs)"
)
def dma_map_phys(kernel: KernelCore, dev: int, phys: int, size: int, dir: int, attrs: int) -> int:
    """dma_map_page_attrs' successor: by physical address."""
    return _map(kernel, dev, phys, size)


def _define_nothing_to_do() -> None:
    """Memory is coherent: nothing is copied, nothing has to be undone."""
    ends = {
        "dma_unmap_page_attrs": "size_t size, enum dma_data_direction dir, unsigned long attrs",
        "dma_unmap_phys": "size_t size, enum dma_data_direction dir, unsigned long attrs",
        "dma_sync_single_for_cpu": "size_t size, enum dma_data_direction dir",
        "dma_sync_single_for_device": "size_t size, enum dma_data_direction dir",
        "__dma_sync_single_for_cpu": "size_t size, enum dma_data_direction dir",
        "__dma_sync_single_for_device": "size_t size, enum dma_data_direction dir",
    }
    for name, end in ends.items():

        @export(f"void {name}(struct device *dev, dma_addr_t addr, {end})")
        def nothing(kernel: KernelCore, *arguments: int) -> None:
            """Nothing to do on this machine."""


_define_nothing_to_do()


@export("int dma_set_mask(struct device *dev, u64 mask)")
def dma_set_mask(kernel: KernelCore, dev: int, mask: int) -> int:
    """Say which addresses a device reaches; EIO if it has no mask, or would not reach all of RAM."""
    place = kernel.view("device", dev).dma_mask
    if not place or not _reaches_ram(kernel, mask):
        return -errno.EIO
    kernel.memory.write_u64(place, mask)
    return 0


@export("int dma_set_coherent_mask(struct device *dev, u64 mask)")
def dma_set_coherent_mask(kernel: KernelCore, dev: int, mask: int) -> int:
    """The same for coherent memory."""
    if not _reaches_ram(kernel, mask):
        return -errno.EIO
    kernel.view("device", dev).coherent_dma_mask = mask
    return 0


def _reaches_ram(kernel: KernelCore, mask: int) -> bool:
    return mask >= min(kernel.memory.ram_end - 1, (1 << 24) - 1)  # dma_direct_supported(): at least ZONE_DMA


@export("u64 dma_get_required_mask(struct device *dev)")
def dma_get_required_mask(kernel: KernelCore, dev: int) -> int:
    """The mask that reaches all of RAM."""
    return (1 << (kernel.memory.ram_end - 1).bit_length()) - 1


@export("size_t dma_max_mapping_size(struct device *dev)")
def dma_max_mapping_size(kernel: KernelCore, dev: int) -> int:
    """How much can be mapped at once: anything."""
    return (1 << 64) - 1


@export(
    "unsigned int dma_map_sg_attrs(struct device *dev, struct scatterlist *sg, int nents,"
    " enum dma_data_direction dir, unsigned long attrs)"
)
def dma_map_sg_attrs(kernel: KernelCore, dev: int, sg: int, nents: int, dir: int, attrs: int) -> int:
    """Map a scatterlist's entries one by one; 0 if the device does not reach one."""
    for _ in range(nents):
        view = kernel.view("scatterlist", sg)
        address = page_to_virt(view.page_link & ~3) - kernel.direct_address(0) + view.offset
        if _map(kernel, dev, address, view.length) == _MAPPING_ERROR:
            return 0
        view.dma_address, view.dma_length = address, view.length
        sg += view.layout.size
        if kernel.memory.read_u64(sg) & 1 and _ < nents - 1:  # a chain leads to the next table
            sg = kernel.memory.read_u64(sg) & ~3
    return nents


@export(
    "void dma_unmap_sg_attrs(struct device *dev, struct scatterlist *sg, int nents,"
    " enum dma_data_direction dir, unsigned long attrs)"
)
def dma_unmap_sg_attrs(kernel: KernelCore, dev: int, sg: int, nents: int, dir: int, attrs: int) -> None:
    """Nothing has to be undone."""
