"""What a driver's mmap method calls to show memory to a program (mm/memory.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.machine.memory import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, page_align
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_VM_FAULT_NOPAGE, _VM_FAULT_SIGBUS = 0x100, 2
_VM_IO, _VM_PFNMAP, _VM_MIXEDMAP, _VM_DONTEXPAND, _VM_DONTDUMP = (
    0x4000,
    0x400,
    0x1000_0000,
    0x4_0000,
    0x400_0000,
)


def _show(kernel: KernelCore, vma: int, address: int, paddr: int) -> None:
    """Map one page; EFAULT outside of the mapping, EINVAL for what is no RAM of this machine."""
    owner = kernel.user_pages.mappings.get(vma)
    mapping = owner.mm.find(address) if owner is not None else None
    if owner is None or mapping is None or mapping.owner is not owner:
        raise KernelError(errno.EFAULT, f"{address:#x} is not in the mapping")
    if not kernel.memory.mapped(kernel.direct_address(paddr)):
        raise KernelError(errno.EINVAL, f"there is no RAM at physical address {paddr:#x}")
    owner.mm.space.map(address, paddr & PAGE_MASK, mapping.perms)


def _show_range(kernel: KernelCore, vma: int, address: int, paddr: int, size: int) -> int:
    for offset in range(0, page_align(size), PAGE_SIZE):
        _show(kernel, vma, address + offset, paddr + offset)
    kernel.memory.flush()
    return 0


def _add_flags(kernel: KernelCore, vma: int, flags: int) -> None:
    view = kernel.view("vm_area_struct", vma)
    view.vm_flags = view.vm_flags | flags


@export(
    "int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,"
    " unsigned long size, pgprot_t prot)",
    Fidelity.APPROXIMATE,
)
def remap_pfn_range(kernel: KernelCore, vma: int, addr: int, pfn: int, size: int, prot: int) -> int:
    """Show physical memory (mm/memory.c); only RAM is there."""
    _add_flags(kernel, vma, _VM_IO | _VM_PFNMAP | _VM_DONTEXPAND | _VM_DONTDUMP)
    return _show_range(kernel, vma, addr, pfn << PAGE_SHIFT, size)


@export("int vm_iomap_memory(struct vm_area_struct *vma, phys_addr_t start, unsigned long len)")
def vm_iomap_memory(kernel: KernelCore, vma: int, start: int, len: int) -> int:
    """Show a physical range as far as the mapping asks for it (mm/memory.c)."""
    view = kernel.view("vm_area_struct", vma)
    pages = page_align(len + start % PAGE_SIZE) >> PAGE_SHIFT
    size = view.vm_end - view.vm_start
    if view.vm_pgoff > pages or size >> PAGE_SHIFT > pages - view.vm_pgoff:
        raise KernelError(errno.EINVAL, "the mapping reaches over the end of the device's memory")
    return _show_range(kernel, vma, view.vm_start, (start & PAGE_MASK) + (view.vm_pgoff << PAGE_SHIFT), size)


@export("int vm_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page)")
def vm_insert_page(kernel: KernelCore, vma: int, addr: int, page: int) -> int:
    """Show one page (mm/memory.c)."""
    _add_flags(kernel, vma, _VM_MIXEDMAP)
    return _show_range(kernel, vma, addr, page_to_virt(page) - kernel.direct_address(0), PAGE_SIZE)


@export("int remap_vmalloc_range(struct vm_area_struct *vma, void *addr, unsigned long pgoff)")
def remap_vmalloc_range(kernel: KernelCore, vma: int, addr: int, pgoff: int) -> int:
    """Show memory of vmalloc_user (mm/vmalloc.c)."""
    view = kernel.view("vm_area_struct", vma)
    for offset in range(0, view.vm_end - view.vm_start, PAGE_SIZE):
        source = addr + (pgoff << PAGE_SHIFT) + offset
        if not kernel.memory.mapped(source):
            raise KernelError(errno.EINVAL, "the mapping reaches over the end of the memory")
        _show(kernel, vma, view.vm_start + offset, kernel.memory.translate(source))
    _add_flags(kernel, vma, _VM_DONTEXPAND | _VM_DONTDUMP)
    kernel.memory.flush()
    return 0


@export("vm_fault_t vmf_insert_pfn(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn)")
def vmf_insert_pfn(kernel: KernelCore, vma: int, addr: int, pfn: int) -> int:
    """Show one page from a fault method (mm/memory.c)."""
    try:
        _show_range(kernel, vma, addr, pfn << PAGE_SHIFT, PAGE_SIZE)
    except KernelError:
        return _VM_FAULT_SIGBUS
    return _VM_FAULT_NOPAGE
