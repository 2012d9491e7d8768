"""Tables of sockets that a protocol of a module's has (net/ipv4/inet_hashtables.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_LISTENING, _BUCKET, _FIRST_MARK = (
    32,
    16,
    1 << 29,
)  # INET_LHTABLE_SIZE, a lock and a list, LISTENING_NULLS_BASE
_LOCK, _LOCKS = 4, 32


@export("int inet_hashinfo2_init_mod(struct inet_hashinfo *h)")
def inet_hashinfo2_init_mod(kernel: KernelCore, h: StructView) -> int:
    """Empty lists of those that listen, each with an end of its own (net/ipv4/inet_hashtables.c)."""
    h.lhash2 = kernel.heap.kmalloc(_LISTENING * _BUCKET)
    for number in range(_LISTENING):
        end = (_FIRST_MARK + number) << 1 | 1
        kernel.memory.write_u64(h.lhash2 + number * _BUCKET + 8, end)
    h.lhash2_mask = _LISTENING - 1
    return 0


@export("int inet_ehash_locks_alloc(struct inet_hashinfo *hashinfo)")
def inet_ehash_locks_alloc(kernel: KernelCore, hashinfo: StructView) -> int:
    """Locks of two lines of the cache for each processor (net/ipv4/inet_hashtables.c)."""
    count = min(_LOCKS, hashinfo.ehash_mask + 1)
    hashinfo.ehash_locks = kernel.heap.kmalloc(_LOCK * count)
    hashinfo.ehash_locks_mask = count - 1
    return 0
