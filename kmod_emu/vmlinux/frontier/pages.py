"""Pages: giving them out, taking them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import pages
from kmod_emu.kernel.layout import STRUCT_PAGE_SIZE
from kmod_emu.vmlinux.frontier.table import Frontier
from kmod_emu.vmlinux.oom import make_room

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_PAGES = "there is no memory map by a firmware to make zones of; pages are the machine's"

_GFP_COMP = 0x40000
_MAPCOUNT, _REFCOUNT = 48, 52  # in struct page, on all releases
_FRESH = bytes(_MAPCOUNT) + b"\xff" * 4 + bytes(STRUCT_PAGE_SIZE - _MAPCOUNT - 4)  # nobody has mapped it

_NODEMASK = "gfp_t gfp, unsigned int order, int preferred_nid, void *nodemask"


async def __alloc_pages(
    kernel: VmlinuxKernel, gfp: int, order: int, preferred_nid: int, nodemask: int
) -> int:
    """2^order pages with one reference (mm/page_alloc.c)."""
    page = await __alloc_frozen_pages(kernel, gfp, order, preferred_nid, nodemask)
    if page:
        kernel.memory.write_u32(page + _REFCOUNT, 1)
    return page


frontier.replace(f"struct page *__alloc_pages({_NODEMASK})", _PAGES)(__alloc_pages)
frontier.replace(f"struct page *__alloc_pages_nodemask({_NODEMASK})", _PAGES)(__alloc_pages)


@frontier.replace(f"struct page *__alloc_frozen_pages({_NODEMASK})", _PAGES)
async def __alloc_frozen_pages(
    kernel: VmlinuxKernel, gfp: int, order: int, preferred_nid: int, nodemask: int
) -> int:
    """2^order pages without a reference (mm/page_alloc.c)."""
    address = kernel.pages.allocate(order) or await make_room(kernel, gfp, order)
    if not address:
        return 0
    page = pages.virt_to_page(address)
    kernel.memory.write(page, _FRESH * (1 << order))
    if gfp & _GFP_COMP and order:
        await kernel.call_guest(kernel.symbol("prep_compound_page"), page, order)
    return page


@frontier.replace("void free_unref_page(struct page *page, unsigned int order)", _PAGES)
def free_unref_page(kernel: KernelCore, page: int, order: int) -> None:
    """The last reference to pages is gone (mm/page_alloc.c)."""
    kernel.pages.free(pages.page_to_virt(page))


@frontier.replace("void __free_pages_ok(struct page *page, unsigned int order, int fpi_flags)", _PAGES)
def __free_pages_ok(kernel: KernelCore, page: int, order: int, fpi_flags: int) -> None:
    """The last reference to many pages is gone (mm/page_alloc.c)."""
    kernel.pages.free(pages.page_to_virt(page))


@frontier.replace("void __free_frozen_pages(struct page *page, unsigned int order, int fpi_flags)", _PAGES)
def __free_frozen_pages(kernel: KernelCore, page: int, order: int, fpi_flags: int) -> None:
    """The last reference to pages was given up by whoever has them (mm/page_alloc.c)."""
    kernel.pages.free(pages.page_to_virt(page))


@frontier.replace("void free_unref_folios(struct folio_batch *folios)", _PAGES)
def free_unref_folios(kernel: KernelCore, folios: int) -> None:
    """Free the pages of a batch, which is empty then (mm/page_alloc.c)."""
    for index in range(kernel.memory.read_u8(folios)):
        kernel.pages.free(pages.page_to_virt(kernel.memory.read_u64(folios + 8 + 8 * index)))
    kernel.memory.write_u8(folios, 0)


@frontier.replace("void free_unref_page_list(struct list_head *list)", _PAGES)
def free_unref_page_list(kernel: KernelCore, list: int) -> None:
    """Free the pages on a list (mm/page_alloc.c)."""
    memory = kernel.memory
    entry, lru = memory.read_u64(list), kernel.profile.offset("page", "lru")
    while entry != list:
        following = memory.read_u64(entry)
        kernel.pages.free(pages.page_to_virt(entry - lru))
        entry = following
    memory.write_u64(list, list)
    memory.write_u64(list + 8, list)


@frontier.replace(
    "unsigned long __alloc_pages_bulk(gfp_t gfp, int nid, void *mask, int nr, void *list, void **array)",
    _PAGES,
)
async def __alloc_pages_bulk(
    kernel: VmlinuxKernel, gfp: int, nid: int, mask: int, nr: int, list: int, array: int
) -> int:
    """Many single pages: as with memory short, one, and the caller asks again (mm/page_alloc.c)."""
    if list or not array:
        return 0
    done = 0
    for index in range(nr):
        slot = array + 8 * index
        if not kernel.memory.read_u64(slot):
            page = await __alloc_pages(kernel, gfp, 0, nid, mask)
            if not page:
                break
            kernel.memory.write_u64(slot, page)
        done += 1
    return done


@frontier.replace(
    "unsigned long alloc_pages_bulk(gfp_t gfp, int nid, void *mask, int nr, void *list, void **array)", _PAGES
)
async def alloc_pages_bulk(
    kernel: VmlinuxKernel, gfp: int, nid: int, mask: int, nr: int, list: int, array: int
) -> int:
    """The same, also where pages are no longer put on lists (mm/page_alloc.c)."""
    if not kernel.takes("alloc_pages_bulk_noprof", "page_list"):
        list, array = 0, list
    return await __alloc_pages_bulk(kernel, gfp, nid, mask, nr, list, array)
