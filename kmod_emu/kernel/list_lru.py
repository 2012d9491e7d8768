"""Lists of what was used last, with a count (mm/list_lru.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_NODE, _LIST, _COUNT, _TOTAL = (
    64,
    8,
    24,
    32,
)  # struct list_lru_node: a lock, a list and its length, all there are


@export(
    "int __list_lru_init(struct list_lru *lru, bool memcg_aware, struct lock_class_key *key,"
    " struct shrinker *shrinker)"
)
def __list_lru_init(
    kernel: KernelCore, lru: StructView, memcg_aware: int, key: int, shrinker: StructView
) -> int:
    """An empty list for the one node (mm/list_lru.c)."""
    lru.node = kernel.heap.kmalloc(_NODE)
    lists.init(kernel.memory, lru.node + _LIST)
    return 0


@export("void list_lru_destroy(struct list_lru *lru)")
def list_lru_destroy(kernel: KernelCore, lru: StructView) -> None:
    """It goes (mm/list_lru.c)."""
    kernel.heap.kfree(lru.node)
    lru.node = 0


def _add(kernel: KernelCore, lru: StructView, by: int) -> None:
    for count in (_COUNT, _TOTAL):
        kernel.memory.write_u64(lru.node + count, kernel.memory.read_u64(lru.node + count) + by)


@export("bool list_lru_add(struct list_lru *lru, struct list_head *item)")
def list_lru_add(kernel: KernelCore, lru: StructView, item: int) -> bool:
    """Put at the end what is on no list (mm/list_lru.c)."""
    if not lists.empty(kernel.memory, item):
        return False
    lists.add_tail(kernel.memory, item, lru.node + _LIST)
    _add(kernel, lru, 1)
    return True


@export("bool list_lru_del(struct list_lru *lru, struct list_head *item)")
def list_lru_del(kernel: KernelCore, lru: StructView, item: int) -> bool:
    """Take away what is on a list (mm/list_lru.c)."""
    if lists.empty(kernel.memory, item):
        return False
    lists.delete_init(kernel.memory, item)
    _add(kernel, lru, -1)
    return True
