"""Physical pages: a buddy allocator over the RAM of the direct map, and `struct page`.

Mirrors what modules can see of mm/page_alloc.c: naturally aligned blocks of 2^order pages, a `struct page`
in the vmemmap for each. Free lists are kept sorted by address, so allocation is deterministic.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.layout import PAGE_OFFSET, RAM_SIZE, STRUCT_PAGE_SIZE, VMEMMAP_START
from kmod_emu.kernel.plain import Table
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ, WRITE

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

MAX_ORDER = 10
_GFP_ZERO = 0x100


class PageAllocator:
    """Blocks of pages, by direct-map address.

    Args:
        kernel: Its direct-map arena is what is allocated from.
        reserved: Bytes at the start of RAM that are never handed out.
    """

    def __init__(self, kernel: KernelCore, reserved: int) -> None:
        self._memory, self._allocations, self._usage = kernel.memory, kernel.allocations, kernel.usage
        self._ram = kernel.memory.arena_of(PAGE_OFFSET)
        self._free: list[list[int]] = [[] for _ in range(MAX_ORDER + 1)]  # page numbers
        self._orders = Table()  # first page number -> order, of blocks in use
        self._left = self._ram.size - reserved
        page, end = reserved >> PAGE_SHIFT, self._ram.size >> PAGE_SHIFT
        while page < end:
            order = min(MAX_ORDER, (page & -page).bit_length() - 1 if page else MAX_ORDER)
            while page + (1 << order) > end:
                order -= 1
            self._free[order].append(page)
            page += 1 << order
        self._ram.perms[:] = bytes([READ | WRITE]) * len(self._ram.perms)

    def allocate(self, order: int = 0) -> int:
        """Direct-map address of 2^order zeroed pages, or 0."""
        if order > MAX_ORDER:
            return 0
        have = order
        while have <= MAX_ORDER and not self._free[have]:
            have += 1
        if not self._usage.take_memory(PAGE_SIZE << order, self._left if have <= MAX_ORDER else 0):
            return 0
        self._left -= PAGE_SIZE << order
        page = self._free[have].pop(0)
        while have > order:
            have -= 1
            insort(self._free[have], page + (1 << have))
        self._orders[page] = order
        address = PAGE_OFFSET + (page << PAGE_SHIFT)
        self._memory.clear(address, PAGE_SIZE << order)
        return address

    def free(self, address: int) -> bool:
        """Give a block back; False if `address` is not the start of one."""
        if address & (PAGE_SIZE - 1):
            return False
        page = (address - PAGE_OFFSET) >> PAGE_SHIFT
        order = self._orders.pop(page, None)
        if order is None:
            return False
        self._allocations.pop(address, None)
        self._usage.give_memory(PAGE_SIZE << order)
        self._left += PAGE_SIZE << order
        while order < MAX_ORDER:
            buddy = page ^ (1 << order)
            if buddy not in self._free[order]:
                break
            self._free[order].remove(buddy)
            page = min(page, buddy)
            order += 1
        insort(self._free[order], page)
        return True

    def block_of(self, address: int) -> tuple[int, int] | None:
        """(address, order) of the block in use that holds an address of the direct map, or None."""
        page = (address - PAGE_OFFSET) >> PAGE_SHIFT
        for order in range(MAX_ORDER + 1):
            first = page >> order << order
            if self._orders.get(first) == order:
                return PAGE_OFFSET + (first << PAGE_SHIFT), order
        return None

    def is_free(self, page: int) -> bool:
        """Whether nobody has a page, by its number."""
        return any(page >> order << order in firsts for order, firsts in enumerate(self._free))

    @property
    def allocated(self) -> int:
        """Pages in use."""
        return sum(1 << order for order in self._orders.values())

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"free": [list(pages) for pages in self._free], "used": self._orders.keep()}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._free = [list(pages) for pages in state["free"]]
        self._orders.put_back(state["used"])
        self._left = sum(len(pages) << PAGE_SHIFT + order for order, pages in enumerate(self._free))


def page_to_virt(page: int) -> int:
    """Direct-map address of the page that a `struct page` describes."""
    return PAGE_OFFSET + ((page - VMEMMAP_START) // STRUCT_PAGE_SIZE << PAGE_SHIFT)


def virt_to_page(address: int) -> int:
    """Address of the `struct page` of a direct-map address."""
    return VMEMMAP_START + (address - PAGE_OFFSET >> PAGE_SHIFT) * STRUCT_PAGE_SIZE


@export("unsigned long __get_free_pages(gfp_t gfp_mask, unsigned int order)")
def __get_free_pages(kernel: KernelCore, gfp_mask: int, order: int) -> int:
    """Allocate 2^order pages, by address (mm/page_alloc.c)."""
    return kernel.pages.allocate(order)


@export("unsigned long get_zeroed_page(gfp_t gfp_mask)")
def get_zeroed_page(kernel: KernelCore, gfp_mask: int) -> int:
    """Allocate one zeroed page (mm/page_alloc.c)."""
    return kernel.pages.allocate(0)


@export("void free_pages(unsigned long addr, unsigned int order)")
def free_pages(kernel: KernelCore, addr: int, order: int) -> None:
    """Free by address (mm/page_alloc.c)."""
    if addr:
        kernel.pages.free(addr)


@export("struct page *__alloc_pages(gfp_t gfp, unsigned int order, int preferred_nid, nodemask_t *nodemask)")
def __alloc_pages(kernel: KernelCore, gfp: int, order: int, preferred_nid: int, nodemask: int) -> int:
    """Allocate 2^order pages, by struct page (mm/page_alloc.c)."""
    address = kernel.pages.allocate(order)
    return virt_to_page(address) if address else 0


@export("struct page *alloc_pages(gfp_t gfp, unsigned int order)")
def alloc_pages(kernel: KernelCore, gfp: int, order: int) -> int:
    """Allocate 2^order pages, by struct page (mm/mempolicy.c)."""
    return __alloc_pages(kernel, gfp, order, 0, 0)


@export("void __free_pages(struct page *page, unsigned int order)")
def __free_pages(kernel: KernelCore, page: int, order: int) -> None:
    """Free by struct page (mm/page_alloc.c)."""
    kernel.pages.free(page_to_virt(page))


@export("void *alloc_pages_exact(size_t size, gfp_t gfp_mask)")
def alloc_pages_exact(kernel: KernelCore, size: int, gfp_mask: int) -> int:
    """Allocate whole pages for `size` bytes (mm/page_alloc.c).

    What is left of the block is not given back.
    """
    return kernel.pages.allocate((max(size - 1, 0) >> PAGE_SHIFT).bit_length())


@export("void free_pages_exact(void *virt, size_t size)")
def free_pages_exact(kernel: KernelCore, virt: int, size: int) -> None:
    """Free what alloc_pages_exact gave (mm/page_alloc.c)."""
    kernel.pages.free(virt)


@export("bool __virt_addr_valid(unsigned long x)")
def __virt_addr_valid(kernel: KernelCore, x: int) -> bool:
    """Whether an address is of RAM in the direct map (arch/x86/mm/physaddr.c)."""
    return PAGE_OFFSET <= x < PAGE_OFFSET + RAM_SIZE


@export_data("void *high_memory")
def high_memory(kernel: KernelCore, address: int) -> None:
    """The end of the direct map (mm/memory.c)."""
    kernel.memory.write_u64(address, PAGE_OFFSET + RAM_SIZE)


@export_data("atomic_long_t _totalram_pages")
def _totalram_pages(kernel: KernelCore, address: int) -> None:
    """Pages of RAM (mm/page_alloc.c)."""
    kernel.memory.write_u64(address, RAM_SIZE >> PAGE_SHIFT)


@export("struct folio *folio_alloc(gfp_t gfp, unsigned int order)", Fidelity.APPROXIMATE)
def folio_alloc(kernel: KernelCore, gfp: int, order: int) -> int:
    """Pages that are used as one; that they belong together is not noted in them (mm/mempolicy.c)."""
    return __alloc_pages(kernel, gfp, order, 0, 0)


@export("void si_meminfo(struct sysinfo *val)", Fidelity.APPROXIMATE)
def si_meminfo(kernel: KernelCore, val: StructView) -> None:
    """How much memory there is, in pages (mm/page_alloc.c)."""
    pages = RAM_SIZE >> PAGE_SHIFT
    val.totalram, val.freeram, val.mem_unit = pages, pages - kernel.pages.allocated, 1 << PAGE_SHIFT
    val.sharedram = val.bufferram = val.totalhigh = val.freehigh = 0


_NODE_STATES, _NODE_MASK = 6, 128  # enum node_states: possible, online, with memory of three kinds, with CPUs


@export_data("nodemask_t node_states[NR_NODE_STATES]", _NODE_STATES * _NODE_MASK)
def node_states(kernel: KernelCore, address: int) -> None:
    """Node 0 is all that (mm/page_alloc.c); the last mask is of those with generic initiators."""
    for state in range(_NODE_STATES - 1):
        kernel.memory.write_u64(address + state * _NODE_MASK, 1)
