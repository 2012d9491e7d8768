"""Hash tables that grow (lib/rhashtable.c): made and destroyed; what is in between, modules do inline.

They do not grow here: chains become longer until one has as many entries as the table has buckets, where the
code that modules do not have inline is asked for, which reports itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.locking import init_lock
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_DEFAULT_SIZE, _MIN_SIZE, _MOST = 64, 4, 1 << 31
_NULLS, _LOCKED = 1, 1  # the low bit of a chain's end, and of a bucket that somebody changes
_WORD = 4
_NO_POOL = 0xF_FFFF_FFE0  # WORK_STRUCT_NO_POOL


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


@export(
    "int rhashtable_init(struct rhashtable *ht, const struct rhashtable_params *params)", Fidelity.APPROXIMATE
)
def rhashtable_init(kernel: KernelCore, ht: StructView, params: StructView) -> int:
    """An empty table (lib/rhashtable.c)."""
    if not (params.key_len or params.obj_hashfn) or (params.obj_hashfn and not params.obj_cmpfn):
        return -errno.EINVAL
    kernel.memory.clear(ht.address, ht.layout.size)
    init_lock(kernel, "mutex", ht.addressof("mutex"))
    kernel.memory.write(ht.addressof("p"), kernel.memory.read(params.address, params.layout.size))
    own = kernel.view("rhashtable_params", ht.addressof("p"))
    own.min_size = _power_of_two(own.min_size) if own.min_size else 0
    ht.max_elems = _MOST
    if own.max_size:
        own.max_size = 1 << own.max_size.bit_length() - 1
        ht.max_elems = own.max_size * 2
    own.min_size = max(own.min_size, _MIN_SIZE)
    size = _power_of_two(own.nelem_hint * 4 // 3) if own.nelem_hint else _DEFAULT_SIZE
    ht.key_len = own.key_len
    if not own.hashfn:
        whole = own.key_len % _WORD == 0
        own.hashfn = kernel.symbol("rhashtable_jhash2" if whole else "jhash")
        ht.key_len = own.key_len // _WORD if whole else own.key_len
    ht.tbl = _new_table(kernel, max(size, own.min_size))
    work = kernel.view("work_struct", ht.addressof("run_work"))
    work.data, work.func = _NO_POOL, kernel.symbol("rht_deferred_worker")
    lists.init(kernel.memory, work.addressof("entry"))
    return 0


def _new_table(kernel: KernelCore, size: int) -> int:
    layout = kernel.profile.struct("bucket_table")
    table = kernel.view("bucket_table", kernel.heap.kmalloc(layout.offset("buckets") + 8 * size))
    table.set("size", size)
    lists.init(kernel.memory, table.addressof("walkers"))
    return table.address


@export(
    "int rhltable_init(struct rhltable *hlt, const struct rhashtable_params *params)", Fidelity.APPROXIMATE
)
def rhltable_init(kernel: KernelCore, hlt: int, params: StructView) -> int:
    """One with lists of what has the same key (lib/rhashtable.c)."""
    ht = kernel.view("rhashtable", hlt)
    error = rhashtable_init(kernel, ht, params)
    if not error:
        ht.rhlist = 1
    return error


@export("void rht_deferred_worker(struct work_struct *work)", Fidelity.APPROXIMATE)
def rht_deferred_worker(kernel: KernelCore, work: int) -> None:
    """Where it would grow."""


@export(
    "void rhashtable_free_and_destroy(struct rhashtable *ht, void (*free_fn)(void *ptr, void *arg),"
    " void *arg)",
    Fidelity.APPROXIMATE,
)
async def rhashtable_free_and_destroy(kernel: KernelCore, ht: StructView, free_fn: int, arg: int) -> None:
    """Free what is in it, and the table (lib/rhashtable.c)."""
    await kernel.call_guest(kernel.symbol("cancel_work_sync"), ht.addressof("run_work"))
    table, head = kernel.view("bucket_table", ht.tbl), kernel.view("rhashtable_params", ht.addressof("p"))
    buckets = table.address + table.layout.offset("buckets")
    for place in range(buckets, buckets + 8 * table.get("size"), 8) if free_fn else ():
        entry = kernel.memory.read_u64(place) & ~_LOCKED
        while entry and not entry & _NULLS:
            following, same = kernel.memory.read_u64(entry), entry
            while same:
                after = kernel.memory.read_u64(same + 8) if ht.rhlist else 0
                await kernel.call_guest(free_fn, same - head.head_offset, arg)
                same = after
            entry = following
    kernel.heap.kfree(table.address)


@export("void rhashtable_destroy(struct rhashtable *ht)", Fidelity.APPROXIMATE)
async def rhashtable_destroy(kernel: KernelCore, ht: StructView) -> None:
    """The same without looking at what is in it (lib/rhashtable.c)."""
    await rhashtable_free_and_destroy(kernel, ht, 0, 0)


@export(
    "int __alloc_bucket_spinlocks(spinlock_t **locks, unsigned int *locks_mask, size_t max_size,"
    " unsigned int cpu_mult, gfp_t gfp, const char *name, struct lock_class_key *key)"
)
def __alloc_bucket_spinlocks(
    kernel: KernelCore,
    locks: int,
    locks_mask: int,
    max_size: int,
    cpu_mult: int,
    gfp: int,
    name: int,
    key: int,
) -> int:
    """Locks for the buckets of a table: as many for each processor (lib/bucket_locks.c)."""
    size = min(_power_of_two(cpu_mult), max_size) if cpu_mult else max_size
    kernel.memory.write_u64(locks, kernel.heap.kmalloc(_WORD * size))
    kernel.memory.write_u32(locks_mask, size - 1)
    return 0


@export("void free_bucket_spinlocks(spinlock_t *locks)")
def free_bucket_spinlocks(kernel: KernelCore, locks: int) -> None:
    """They are given back (lib/bucket_locks.c)."""
    kernel.heap.kfree(locks)
