"""Radix trees by their old names (lib/radix-tree.c): the stores of xarray.py.

A slot is a cell of guest memory that holds an entry; it is made when somebody asks for it, and an iterator
gets each entry's as a chunk of one slot. The nodes of a real tree, which only its own code looks at, are not
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.preempt import preempt_count_add
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LAST = (1 << 64) - 1
_TAG_SHIFT = 27  # ROOT_TAG_SHIFT: a root's tags stand behind its gfp flags
_TAGGED, _TAG_MASK, _PRESENT = 0x10, 0x0F, 8  # RADIX_TREE_ITER_TAGGED; what find() takes for any entry
_ITER_INDEX, _ITER_NEXT, _ITER_TAGS = 0, 8, 16  # struct radix_tree_iter


def _slot(kernel: KernelCore, root: int, index: int) -> int:
    """The cell of an entry, up to date; 0 where nothing is stored."""
    entry = kernel.indexed.get(root).get(index, 0)
    cells = kernel.indexed.cells.setdefault(root, {})
    if not entry:
        return 0
    if index not in cells:
        cells[index] = kernel.heap.kmalloc(8)
    kernel.memory.write_u64(cells[index], entry)
    return cells[index]


def _store(kernel: KernelCore, root: int, index: int, entry: int) -> int:
    """Store or erase; the old entry."""
    old = kernel.indexed.put(root, index, entry)
    cells = kernel.indexed.cells.get(root, {})
    if not entry and index in cells:
        kernel.heap.kfree(cells.pop(index))
    return old


@export("int radix_tree_insert(struct radix_tree_root *root, unsigned long index, void *item)")
def radix_tree_insert(kernel: KernelCore, root: int, index: int, item: int) -> int:
    """Store where nothing is (lib/radix-tree.c)."""
    if index in kernel.indexed.get(root):
        return -errno.EEXIST
    kernel.indexed.put(root, index, item)
    return 0


@export("void *radix_tree_lookup(const struct radix_tree_root *root, unsigned long index)")
def radix_tree_lookup(kernel: KernelCore, root: int, index: int) -> int:
    """The entry (lib/radix-tree.c)."""
    return kernel.indexed.get(root).get(index, 0)


@export("void **radix_tree_lookup_slot(const struct radix_tree_root *root, unsigned long index)")
def radix_tree_lookup_slot(kernel: KernelCore, root: int, index: int) -> int:
    """Where the entry is (lib/radix-tree.c)."""
    return _slot(kernel, root, index)


@export("void radix_tree_replace_slot(struct radix_tree_root *root, void **slot, void *item)")
def radix_tree_replace_slot(kernel: KernelCore, root: int, slot: int, item: int) -> None:
    """Store another entry in a slot (lib/radix-tree.c)."""
    for index, cell in kernel.indexed.cells.get(root, {}).items():
        if cell == slot:
            kernel.memory.write_u64(slot, item)
            kernel.indexed.put(root, index, item)
            return


@export("void *radix_tree_delete_item(struct radix_tree_root *root, unsigned long index, void *item)")
def radix_tree_delete_item(kernel: KernelCore, root: int, index: int, item: int) -> int:
    """Erase an entry if it is the one, NULL for any (lib/radix-tree.c)."""
    if item and radix_tree_lookup(kernel, root, index) != item:
        return 0
    return _store(kernel, root, index, 0)


@export("void *radix_tree_delete(struct radix_tree_root *root, unsigned long index)")
def radix_tree_delete(kernel: KernelCore, root: int, index: int) -> int:
    """Erase an entry (lib/radix-tree.c)."""
    return _store(kernel, root, index, 0)


@export("void *radix_tree_tag_set(struct radix_tree_root *root, unsigned long index, unsigned int tag)")
def radix_tree_tag_set(kernel: KernelCore, root: int, index: int, tag: int) -> int:
    """Tag an entry (lib/radix-tree.c)."""
    kernel.indexed.mark(root, index, tag, on=True)
    return radix_tree_lookup(kernel, root, index)


@export("void *radix_tree_tag_clear(struct radix_tree_root *root, unsigned long index, unsigned int tag)")
def radix_tree_tag_clear(kernel: KernelCore, root: int, index: int, tag: int) -> int:
    """Take a tag off (lib/radix-tree.c)."""
    kernel.indexed.mark(root, index, tag, on=False)
    return radix_tree_lookup(kernel, root, index)


@export("int radix_tree_tag_get(const struct radix_tree_root *root, unsigned long index, unsigned int tag)")
def radix_tree_tag_get(kernel: KernelCore, root: int, index: int, tag: int) -> int:
    """Whether an entry has a tag (lib/radix-tree.c)."""
    return int(kernel.indexed.marked(root, index, tag))


@export("int radix_tree_tagged(const struct radix_tree_root *root, unsigned int tag)", Fidelity.APPROXIMATE)
def radix_tree_tagged(kernel: KernelCore, root: int, tag: int) -> int:
    """Whether an entry has a tag: not 0. Of an idr, tag 0 says that a number is free, as always."""
    if kernel.memory.read_u32(root + 4) & 4:  # ROOT_IS_IDR
        return int(not tag)
    return 1 << _TAG_SHIFT + tag if kernel.indexed.find(root, 0, _LAST, tag) else 0


def _gang(kernel: KernelCore, root: int, results: int, first: int, limit: int, mark: int) -> int:
    found = 0
    while found < limit and (hit := kernel.indexed.find(root, first, _LAST, mark)) is not None:
        first = hit[0] + 1
        kernel.memory.write_u64(results + 8 * found, hit[1])
        found += 1
    return found


@export(
    "unsigned int radix_tree_gang_lookup(const struct radix_tree_root *root, void **results,"
    " unsigned long first_index, unsigned int max_items)"
)
def radix_tree_gang_lookup(
    kernel: KernelCore, root: int, results: int, first_index: int, max_items: int
) -> int:
    """Several entries in order (lib/radix-tree.c)."""
    return _gang(kernel, root, results, first_index, max_items, _PRESENT)


@export(
    "unsigned int radix_tree_gang_lookup_tag(const struct radix_tree_root *root, void **results,"
    " unsigned long first_index, unsigned int max_items, unsigned int tag)"
)
def radix_tree_gang_lookup_tag(
    kernel: KernelCore, root: int, results: int, first_index: int, max_items: int, tag: int
) -> int:
    """Several entries that have a tag (lib/radix-tree.c)."""
    return _gang(kernel, root, results, first_index, max_items, tag)


@export(
    "void **radix_tree_next_chunk(const struct radix_tree_root *root, struct radix_tree_iter *iter,"
    " unsigned int flags)"
)
def radix_tree_next_chunk(kernel: KernelCore, root: int, iter: int, flags: int) -> int:
    """The next slot of a walk (lib/radix-tree.c)."""
    memory, mark = kernel.memory, flags & _TAG_MASK if flags & _TAGGED else _PRESENT
    start = memory.read_u64(iter + _ITER_NEXT)
    if not start and memory.read_u64(iter + _ITER_INDEX):
        return 0  # the walk came to the last index there is
    hit = kernel.indexed.find(root, start, _LAST, mark)
    if hit is None:
        return 0
    memory.write_u64(iter + _ITER_INDEX, hit[0])
    memory.write_u64(iter + _ITER_NEXT, hit[0] + 1 & _LAST)
    memory.write_u64(iter + _ITER_TAGS, 1)
    return _slot(kernel, root, hit[0])


@export("void **radix_tree_iter_resume(void **slot, struct radix_tree_iter *iter)")
def radix_tree_iter_resume(kernel: KernelCore, slot: int, iter: int) -> int:
    """Go on after a pause (lib/radix-tree.c)."""
    following = kernel.memory.read_u64(iter + _ITER_INDEX) + 1 & _LAST
    kernel.memory.write_u64(iter + _ITER_INDEX, following)
    kernel.memory.write_u64(iter + _ITER_NEXT, following)
    kernel.memory.write_u64(iter + _ITER_TAGS, 0)
    return 0


@export("void radix_tree_iter_delete(struct radix_tree_root *, struct radix_tree_iter *iter, void **slot)")
def radix_tree_iter_delete(kernel: KernelCore, root: int, iter: int, slot: int) -> None:
    """Erase the entry that a walk is at (lib/radix-tree.c)."""
    _store(kernel, root, kernel.memory.read_u64(iter + _ITER_INDEX), 0)


def _preload(kernel: KernelCore, gfp_mask: int) -> int:
    """Memory is there; preemption is off until radix_tree_preload_end() (lib/radix-tree.c)."""
    preempt_count_add(kernel, 1)
    return 0


for _name in ("radix_tree_preload", "radix_tree_maybe_preload"):
    export(f"int {_name}(gfp_t gfp_mask)")(_preload)


@export("void idr_preload(gfp_t gfp_mask)")
def idr_preload(kernel: KernelCore, gfp_mask: int) -> None:
    """Likewise for idr_alloc() (lib/radix-tree.c)."""
    _preload(kernel, gfp_mask)
