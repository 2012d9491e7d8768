"""Virtually mapped areas: vmalloc space and the module area.

Both hand out page-aligned ranges, lowest first, each followed by an unmapped guard page (mm/vmalloc.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.layout import STRUCT_PAGE_SIZE, VMALLOC_SIZE, VMALLOC_START, VMEMMAP_START
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ, WRITE, page_align

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class AreaAllocator:
    """First fit over one arena's window.

    Args:
        kernel: On whose memory.
        start: First address to hand out.
        allocations: What is kept about areas by their address, until they are freed.
        for_modules: Whether modules lie there.
    """

    def __init__(
        self, kernel: KernelCore, start: int, allocations: dict[int, Any], *, for_modules: bool = False
    ) -> None:
        self._for_modules = for_modules
        self._memory, self._usage, self._allocations = kernel.memory, kernel.usage, allocations
        self._start, self._end = start, kernel.memory.arena_of(start).end
        self._areas: dict[int, int] = {}  # address -> size, in ascending order

    def allocate(self, size: int, perms: int = READ | WRITE, align: int = PAGE_SIZE) -> int:
        """Address of `size` zeroed bytes, rounded up to pages and mapped; 0 if there is no room."""
        size = page_align(size)
        if not size:
            return 0
        address = self._start
        for start, length in self._areas.items():
            if address + size + PAGE_SIZE <= start:
                break
            address = (start + length + PAGE_SIZE + align - 1) & -align
        if not self._usage.take_memory(size, self._end - address - PAGE_SIZE, for_module=self._for_modules):
            return 0
        self._areas = dict(sorted([*self._areas.items(), (address, size)]))
        self._memory.protect(address, size, perms)
        self._memory.clear(address, size)
        return address

    def free(self, address: int) -> bool:
        """Unmap an area; False if none starts there."""
        size = self._areas.pop(address, None)
        if size is None:
            return False
        self._allocations.pop(address, None)
        self._usage.give_memory(size)
        self._memory.protect(address, size, 0)
        return True

    def area(self, address: int) -> tuple[int, int] | None:
        """(start, size) of the area that holds `address`, or None."""
        for start, size in self._areas.items():
            if start <= address < start + size:
                return start, size
        return None

    @property
    def allocated(self) -> int:
        """Bytes in use."""
        return sum(self._areas.values())

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._areas.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._areas = dict(state)


@export("void *vmalloc(unsigned long size)")
def vmalloc(kernel: KernelCore, size: int) -> int:
    """Allocate virtually contiguous memory (mm/vmalloc.c)."""
    return kernel.vmalloc.allocate(size)


@export("void *vzalloc(unsigned long size)")
def vzalloc(kernel: KernelCore, size: int) -> int:
    """Allocate zeroed virtually contiguous memory (mm/vmalloc.c)."""
    return kernel.vmalloc.allocate(size)


@export("void *vmalloc_user(unsigned long size)")
def vmalloc_user(kernel: KernelCore, size: int) -> int:
    """Allocate zeroed memory that programs may map (mm/vmalloc.c)."""
    return kernel.vmalloc.allocate(size)


@export("void vfree(const void *addr)")
def vfree(kernel: KernelCore, addr: int) -> None:
    """Free what vmalloc gave; a wild pointer is reported (mm/vmalloc.c: __vunmap)."""
    if addr and (addr % PAGE_SIZE or not kernel.vmalloc.free(addr)):
        wild_area(kernel, addr)


def wild_area(kernel: KernelCore, address: int) -> None:
    """A pointer that vmalloc() or vmap() never gave (mm/vmalloc.c: __vunmap)."""
    hashed = f"{kernel.format_context.hash_pointer(address):016x}"
    if address % PAGE_SIZE:
        text, line, place = f"Trying to vfree() bad address ({hashed})", 2752, 0x31A
    else:
        text, line, place = f"Trying to vfree() nonexistent vm area ({hashed})", 2758, 0x7E
    kernel.warnings.warn("mm/vmalloc.c", line, text, f"__vunmap+{place:#x}/0x340")


@export("bool is_vmalloc_addr(const void *x)")
def is_vmalloc_addr(kernel: KernelCore, x: int) -> int:
    """Whether an address lies in vmalloc space (mm/vmalloc.c)."""
    return int(VMALLOC_START <= x < VMALLOC_START + VMALLOC_SIZE)


@export("struct page *vmalloc_to_page(const void *addr)")
def vmalloc_to_page(kernel: KernelCore, addr: int) -> int:
    """The struct page behind a vmalloc address, NULL where nothing is mapped (mm/vmalloc.c)."""
    if not kernel.memory.mapped(addr):
        return 0
    return VMEMMAP_START + (kernel.memory.translate(addr) >> PAGE_SHIFT) * STRUCT_PAGE_SIZE


@export("unsigned long vmalloc_to_pfn(const void *addr)")
def vmalloc_to_pfn(kernel: KernelCore, addr: int) -> int:
    """The page frame number behind a vmalloc address (mm/vmalloc.c)."""
    return kernel.memory.translate(addr) >> PAGE_SHIFT


def _define_variants() -> None:
    """Vmalloc under its other names: memory is always zeroed, anywhere will do, and there is one node."""
    for name, more in {
        "__vmalloc": "gfp_t gfp_mask",
        "vmalloc_node": "int node",
        "vzalloc_node": "int node",
    }.items():

        @export(f"void *{name}(unsigned long size, {more})")
        def variant(kernel: KernelCore, size: int, more: int) -> int:
            """Allocate virtually contiguous memory (mm/vmalloc.c)."""
            return kernel.vmalloc.allocate(size)

    for name in ("vmalloc_user", "vmalloc_32", "vmalloc_32_user", "vmalloc_huge"):
        more = ", gfp_t gfp_mask" if name == "vmalloc_huge" else ""

        @export(f"void *{name}(unsigned long size{more})")
        def plain(kernel: KernelCore, size: int, *more: int) -> int:
            """Allocate virtually contiguous memory (mm/vmalloc.c)."""
            return kernel.vmalloc.allocate(size)


_define_variants()
