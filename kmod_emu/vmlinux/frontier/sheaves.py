"""Sheaves: objects of a cache that somebody takes in advance, to be sure of them later (mm/slub.c).

Kernels of 7.x have them. Nobody but SLUB looks into struct slab_sheaf. Here one is an array of words: how
many objects there are, and their addresses.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel import slab
from kmod_emu.uapi import errno
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_HEAP = "the heap is the machine's, so that its checkers see every object"


@frontier.replace(
    "struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *s, gfp_t gfp, unsigned int size)", _HEAP
)
async def kmem_cache_prefill_sheaf(kernel: KernelCore, s: int, gfp: int, size: int) -> int:
    """A sheaf with so many objects, NULL if memory is used up (mm/slub.c)."""
    sheaf = kernel.heap.kmalloc(8 + 8 * size)
    if sheaf and not await slab.kmem_cache_alloc_bulk(kernel, s, gfp, size, sheaf + 8):
        kernel.heap.kfree(sheaf)
        return 0
    if sheaf:
        kernel.memory.write_u64(sheaf, size)
    return sheaf


@frontier.replace(
    "int kmem_cache_refill_sheaf(struct kmem_cache *s, gfp_t gfp, struct slab_sheaf **sheafp, unsigned size)",
    _HEAP,
)
async def kmem_cache_refill_sheaf(kernel: KernelCore, s: int, gfp: int, sheafp: int, size: int) -> int:
    """Give a sheaf at least so many objects; it may become another one (mm/slub.c)."""
    memory, old = kernel.memory, kernel.memory.read_u64(sheafp)
    have = kmem_cache_sheaf_size(kernel, old)
    if have >= size:
        return 0
    sheaf = kernel.heap.kmalloc(8 + 8 * size)
    if not sheaf or not await slab.kmem_cache_alloc_bulk(kernel, s, gfp, size - have, sheaf + 8 + 8 * have):
        kernel.heap.kfree(sheaf)
        return -errno.ENOMEM
    memory.write(sheaf, struct.pack("<Q", size) + bytes(memory.read(old + 8, 8 * have)))
    memory.write_u64(sheafp, sheaf)
    kernel.heap.kfree(old)
    return 0


@frontier.replace(
    "void *kmem_cache_alloc_from_sheaf(struct kmem_cache *s, gfp_t gfp, struct slab_sheaf *sheaf)", _HEAP
)
def kmem_cache_alloc_from_sheaf(kernel: KernelCore, s: int, gfp: int, sheaf: int) -> int:
    """Take an object out of a sheaf, NULL if it is empty (mm/slub.c)."""
    size = kmem_cache_sheaf_size(kernel, sheaf)
    if not size:
        return 0
    kernel.memory.write_u64(sheaf, size - 1)
    return kernel.memory.read_u64(sheaf + 8 * size)


@frontier.replace(
    "void kmem_cache_return_sheaf(struct kmem_cache *s, gfp_t gfp, struct slab_sheaf *sheaf)", _HEAP
)
def kmem_cache_return_sheaf(kernel: KernelCore, s: int, gfp: int, sheaf: int) -> None:
    """Free a sheaf and what is left in it (mm/slub.c)."""
    slab.kmem_cache_free_bulk(kernel, s, kmem_cache_sheaf_size(kernel, sheaf), sheaf + 8)
    kernel.heap.kfree(sheaf)


@frontier.replace("unsigned int kmem_cache_sheaf_size(struct slab_sheaf *sheaf)", _HEAP)
def kmem_cache_sheaf_size(kernel: KernelCore, sheaf: int) -> int:
    """How many objects are in it (mm/slub.c)."""
    return kernel.memory.read_u64(sheaf)
