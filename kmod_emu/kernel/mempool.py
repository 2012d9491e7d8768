"""Pools that always have some elements (mm/mempool.c).

Memory does run out on this machine, but only when somebody takes it all, so the reserve is there and
seldom used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.pages import __free_pages, alloc_pages
from kmod_emu.kernel.slab import alloc_object, kmem_cache_free
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_SIZE = 128  # of a mempool_t, which inlined code does not look into


class Mempools:
    """Pools by address: how to allocate and free, the argument for it, the reserve, and its size."""

    def __init__(self) -> None:
        self.pools: dict[int, list[Any]] = {}

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[address, list(pool)] for address, pool in self.pools.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.pools = {address: list(pool) for address, pool in state}


@export("int mempool_init(mempool_t *pool, int min_nr, void *alloc_fn, void *free_fn, void *pool_data)")
async def mempool_init(
    kernel: KernelCore, pool: int, min_nr: int, alloc_fn: int, free_fn: int, pool_data: int
) -> int:
    """Make a pool with a reserve of `min_nr` elements where the caller wants it (mm/mempool.c)."""
    kernel.mempools.pools[pool] = [alloc_fn, free_fn, pool_data, [], min_nr]
    for _ in range(min_nr):
        element = await kernel.call_guest(alloc_fn, 0xCC0, pool_data)
        if not element:
            await mempool_exit(kernel, pool)
            return -errno.ENOMEM
        kernel.mempools.pools[pool][3].append(element)
    return 0


@export("void mempool_exit(mempool_t *pool)")
async def mempool_exit(kernel: KernelCore, pool: int) -> None:
    """Free a pool's reserve; a second time does nothing (mm/mempool.c)."""
    _, free_fn, pool_data, reserve, _ = kernel.mempools.pools.pop(pool, (0, 0, 0, (), 0))
    for element in reversed(reserve):
        await kernel.call_guest(free_fn, element, pool_data)


@export("mempool_t *mempool_create(int min_nr, void *alloc_fn, void *free_fn, void *pool_data)")
async def mempool_create(kernel: KernelCore, min_nr: int, alloc_fn: int, free_fn: int, pool_data: int) -> int:
    """Create a pool with a reserve of `min_nr` elements (mm/mempool.c)."""
    pool = kernel.heap.kmalloc(_SIZE)
    if pool and await mempool_init(kernel, pool, min_nr, alloc_fn, free_fn, pool_data):
        kernel.heap.kfree(pool)
        return 0
    return pool


@export("int mempool_resize(mempool_t *pool, int new_min_nr)")
async def mempool_resize(kernel: KernelCore, pool: int, new_min_nr: int) -> int:
    """Change the size of the reserve (mm/mempool.c)."""
    state = kernel.mempools.pools[pool]
    alloc_fn, free_fn, pool_data, reserve, _ = state
    state[4] = new_min_nr
    while len(reserve) > new_min_nr:
        await kernel.call_guest(free_fn, reserve.pop(), pool_data)
    while len(reserve) < new_min_nr:
        element = await kernel.call_guest(alloc_fn, 0xCC0, pool_data)
        if not element:
            return -errno.ENOMEM
        reserve.append(element)
    return 0


@export("void *mempool_alloc(mempool_t *pool, gfp_t gfp_mask)")
async def mempool_alloc(kernel: KernelCore, pool: int, gfp_mask: int) -> int:
    """An element, from the reserve when there is no other (mm/mempool.c)."""
    alloc_fn, _, pool_data, reserve, _ = kernel.mempools.pools[pool]
    element = await kernel.call_guest(alloc_fn, gfp_mask, pool_data)
    return element or (reserve.pop() if reserve else 0)


@export("void mempool_free(void *element, mempool_t *pool)")
async def mempool_free(kernel: KernelCore, element: int, pool: int) -> None:
    """Give an element back (mm/mempool.c)."""
    if not element:
        return
    _, free_fn, pool_data, reserve, wanted = kernel.mempools.pools[pool]
    if len(reserve) < wanted:
        reserve.append(element)
    else:
        await kernel.call_guest(free_fn, element, pool_data)


@export("void mempool_destroy(mempool_t *pool)")
async def mempool_destroy(kernel: KernelCore, pool: int) -> None:
    """Free a pool and its reserve (mm/mempool.c)."""
    if pool:
        await mempool_exit(kernel, pool)
        kernel.heap.kfree(pool)


@export("void *mempool_alloc_slab(gfp_t gfp_mask, void *pool_data)")
async def mempool_alloc_slab(kernel: KernelCore, gfp_mask: int, pool_data: int) -> int:
    """An element of a kmem_cache (mm/mempool.c)."""
    return await alloc_object(kernel, pool_data)


@export("void mempool_free_slab(void *element, void *pool_data)")
def mempool_free_slab(kernel: KernelCore, element: int, pool_data: int) -> None:
    """Give it back (mm/mempool.c)."""
    kmem_cache_free(kernel, pool_data, element)


@export("void *mempool_kmalloc(gfp_t gfp_mask, void *pool_data)")
def mempool_kmalloc(kernel: KernelCore, gfp_mask: int, pool_data: int) -> int:
    """An element of so many bytes (mm/mempool.c)."""
    return kernel.heap.kmalloc(pool_data)


@export("void mempool_kfree(void *element, void *pool_data)")
def mempool_kfree(kernel: KernelCore, element: int, pool_data: int) -> None:
    """Give it back (mm/mempool.c)."""
    kernel.heap.kfree(element)


@export("void *mempool_alloc_pages(gfp_t gfp_mask, void *pool_data)")
def mempool_alloc_pages(kernel: KernelCore, gfp_mask: int, pool_data: int) -> int:
    """An element of 2^order pages (mm/mempool.c)."""
    return alloc_pages(kernel, gfp_mask, pool_data)


@export("void mempool_free_pages(void *element, void *pool_data)")
def mempool_free_pages(kernel: KernelCore, element: int, pool_data: int) -> None:
    """Give it back (mm/mempool.c)."""
    __free_pages(kernel, element, pool_data)
