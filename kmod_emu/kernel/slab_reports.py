"""What the slab allocator says of objects given back wrongly, or not at all (mm/slub.c, slab_common.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import report
from kmod_emu.kernel.pages import MAX_ORDER
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.slab import Cache

_GFP_NOWARN = 0x2000
_FLAGS = "0xfffffc0000200(slab|node=0|zone=1|lastcpupid=0x1fffff)"
_HEAD_FLAGS = "0xfffffc0010200(slab|head|node=0|zone=1|lastcpupid=0x1fffff)"


def objects_remain(kernel: KernelCore, cache: Cache, slabs: dict[int, list[int]], caller: int) -> None:
    """A cache is destroyed while objects of it are in use.

    Args:
        kernel: The machine.
        cache: Which.
        slabs: First address of a slab -> the objects in use there.
        caller: Where it was destroyed.
    """

    def pointer(address: int) -> str:
        return f"0x{kernel.format_context.hash_pointer(address):016x}"

    for slab, objects in slabs.items():
        free = next((place for place in reversed(cache.free) if slab <= place < slab + cache.slab_size), 0)
        what = f"Objects remaining in {cache.name} on __kmem_cache_shutdown()"
        text = f"BUG {cache.name} ({kernel.taint}): {what}"
        flags = _FLAGS if cache.slab_size == PAGE_SIZE else _HEAD_FLAGS
        info = (
            f"Slab {pointer(slab)} objects={cache.slab_size // cache.stride} used={len(objects)} "
            f"fp={pointer(free)} flags={flags}"
        )
        kernel.printk.say([(3, "=" * 77), (3, text), (3, "-" * 77 + "\n"), (3, info)])
        report.dump_stack(kernel)
        kernel.taint.add(Taint.BAD_PAGE)
        kernel.printk.say([(3, f"Object {pointer(place)} @offset={place - slab}") for place in objects])
    where = kernel.describe(caller)
    text = f"kmem_cache_destroy {cache.name}: Slab cache still has objects when called from {where}"
    kernel.warnings.warn("mm/slab_common.c", 493, text, "kmem_cache_destroy+0x141/0x150")


def wrong_cache(kernel: KernelCore, given: str, own: str) -> None:
    """An object is given back to another cache than its own, which it then goes to."""
    text = f"cache_from_obj: Wrong slab cache. {given} but object is from {own}"
    kernel.warnings.warn("mm/slab.h", 665, text, "cache_from_obj+0xa1/0x120")


def not_from_a_cache(kernel: KernelCore, address: int) -> None:
    """kfree() of whole pages that kmalloc() did not give; they are freed."""
    kernel.warnings.warn("mm/slab_common.c", 904, "", "free_large_kmalloc+0x3c/0x70")
    hashed = kernel.format_context.hash_pointer(address)
    kernel.printk.say([(4, f"object pointer: 0x{hashed:016x}")])


def warn_of_order(kernel: KernelCore, size: int, flags: int) -> None:
    """More is asked for than the page allocator ever has in one piece (mm/page_alloc.c: __alloc_pages)."""
    if size > PAGE_SIZE << MAX_ORDER and not flags & _GFP_NOWARN:
        kernel.warnings.warn_once("mm/page_alloc.c", 5634, "", "__alloc_pages+0x2a9/0x330")
