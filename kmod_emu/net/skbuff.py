"""Socket buffers: `struct sk_buff` in guest memory, linear ones only (net/core/skbuff.c).

Moving the ends of one is guest code (guest_kernel_stubs/skbuff.c); here are getting, sharing, queueing and
freeing them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

SHARED_INFO = 320  # bytes of struct skb_shared_info, which follows the data; the same in all releases
_DATAREF = 32  # where its reference count is
_OVERHEAD = 256 + SHARED_INFO  # SKB_TRUESIZE
_UNSET = 0xFFFF
_QLEN = 16  # in struct sk_buff_head, behind two pointers
_PREV = 8


def view(kernel: KernelCore, skb: int) -> StructView:
    """A typed view."""
    return kernel.view("sk_buff", skb)


def alloc_skb(kernel: KernelCore, size: int) -> int:
    """A buffer with room for `size` bytes or some more; 0 if memory is used up."""
    heap, memory = kernel.heap, kernel.memory
    layout = kernel.profile.struct("sk_buff")
    head = heap.kmalloc((size + 63 & ~63) + SHARED_INFO)
    skb = heap.kmalloc(layout.size) if head else 0
    if not skb:
        heap.kfree(head)
        return 0
    skb_view = view(kernel, skb)
    skb_view.head = skb_view.data = head
    skb_view.end = end = heap.use_all(head) - SHARED_INFO
    skb_view.truesize = end + _OVERHEAD
    skb_view.users = 1
    skb_view.mac_header = skb_view.transport_header = _UNSET
    memory.write_u32(head + end + _DATAREF, 1)
    return skb


def new_skb(kernel: KernelCore, data: bytes) -> int:
    """A buffer that holds `data`; 0 if memory is used up."""
    skb = alloc_skb(kernel, len(data))
    if skb:
        skb_view = view(kernel, skb)
        kernel.memory.write(skb_view.data, data)
        skb_view.tail = skb_view.len = len(data)
    return skb


def contents(kernel: KernelCore, skb: int) -> bytes:
    """The bytes between its ends."""
    skb_view = view(kernel, skb)
    return kernel.memory.read(skb_view.data, skb_view.len)


def control_block(kernel: KernelCore, skb: int) -> StructView:
    """NETLINK_CB(): what netlink keeps in a buffer's `cb`."""
    return kernel.view("netlink_skb_parms", view(kernel, skb).addressof("cb"))


def clone(kernel: KernelCore, skb: int) -> int:
    """Another sk_buff for the same data; 0 if memory is used up."""
    memory, size = kernel.memory, kernel.profile.struct("sk_buff").size
    copy = kernel.heap.kmalloc(size)
    if not copy:
        return 0
    view(kernel, skb).set_bit("cloned", True)
    memory.write(copy, memory.read(skb, size))
    new = view(kernel, copy)
    new.next = new.prev = new.sk = new.destructor = 0
    new.users = 1
    shared = new.head + new.end + _DATAREF
    memory.write_u32(shared, memory.read_u32(shared) + 1)
    return copy


def copy(kernel: KernelCore, skb: int, headroom: int = -1, tailroom: int = -1) -> int:
    """Another sk_buff with data of its own; 0 if memory is used up."""
    old, memory = view(kernel, skb), kernel.memory
    headroom = old.data - old.head if headroom < 0 else headroom
    tailroom = old.end - old.tail if tailroom < 0 else tailroom
    fresh = alloc_skb(kernel, headroom + old.len + tailroom)
    if fresh:
        new = view(kernel, fresh)
        new.data = new.head + headroom
        new.len, new.tail = old.len, headroom + old.len
        memory.write(new.data, memory.read(old.data, old.len))
        for name in ("cb", "protocol", "priority", "mark"):
            new.set_bytes(name, old.bytes(name))
    return fresh


def set_owner(kernel: KernelCore, skb: int, sk: int) -> None:
    """Charge a socket for a buffer until that is freed (skb_set_owner_r)."""
    skb_view = view(kernel, skb)
    skb_view.sk, skb_view.destructor = sk, kernel.symbols.address("sock_rfree")
    charge(kernel, sk, skb_view.truesize)


def charge(kernel: KernelCore, sk: int, amount: int) -> None:
    """Change sk_rmem_alloc, which is the first member of sk_backlog."""
    place = kernel.view("sock", sk).addressof("sk_backlog")
    kernel.memory.write_u32(place, kernel.memory.read_u32(place) + amount & 0xFFFF_FFFF)


def rmem_alloc(kernel: KernelCore, sk: int) -> int:
    """Bytes that a socket is charged for."""
    return kernel.memory.read_u32(kernel.view("sock", sk).addressof("sk_backlog"))


async def free(kernel: KernelCore, skb: int) -> None:
    """One reference less; the last one frees (consume_skb, kfree_skb)."""
    if not skb:
        return
    skb_view, memory = view(kernel, skb), kernel.memory
    users = skb_view.users
    if users != 1:
        skb_view.users = users - 1
        if not 0 < users < 1 << 31:
            kernel.warnings.warn(
                "lib/refcount.c",
                28,
                "refcount_t: underflow; use-after-free.",
                "refcount_warn_saturate+0xba/0x110",
            )
        return
    if skb_view.destructor == kernel.symbols.address("sock_rfree"):
        sock_rfree(kernel, skb)
    elif skb_view.destructor:
        await kernel.call_guest(skb_view.destructor, skb)
    head = skb_view.head
    shared = head + skb_view.end + _DATAREF
    left = memory.read_u32(shared) - 1
    memory.write_u32(shared, left & 0xFFFF_FFFF)
    if left <= 0:
        _free_block(kernel, head)
    skb_view.users = 0
    _free_block(kernel, skb)


def _free_block(kernel: KernelCore, address: int) -> None:
    if not kernel.heap.kfree(address):
        kernel.oopses.bad_free("kfree_skb", address)


# --- queues -----------------------------------------------------------------------------------------


def queue_insert(kernel: KernelCore, head: int, skb: int, before: int, after: int) -> None:
    """Put a buffer between two neighbours of a struct sk_buff_head."""
    memory = kernel.memory
    memory.write(skb, struct.pack("<QQ", after, before))
    memory.write_u64(before, skb)
    memory.write_u64(after + _PREV, skb)
    memory.write_u32(head + _QLEN, memory.read_u32(head + _QLEN) + 1)


def queue_tail(kernel: KernelCore, head: int, skb: int) -> None:
    """Put a buffer at the end of a queue."""
    queue_insert(kernel, head, skb, kernel.memory.read_u64(head + _PREV), head)


def unlink(kernel: KernelCore, head: int, skb: int) -> None:
    """Take a buffer off a queue."""
    memory = kernel.memory
    after, before = memory.read_u64(skb), memory.read_u64(skb + _PREV)
    memory.write_u64(before, after)
    memory.write_u64(after + _PREV, before)
    memory.write(skb, bytes(16))
    memory.write_u32(head + _QLEN, memory.read_u32(head + _QLEN) - 1)


def first(kernel: KernelCore, head: int) -> int:
    """The first buffer of a queue; 0 if it is empty."""
    skb = kernel.memory.read_u64(head)
    return skb if skb != head else 0


def dequeue(kernel: KernelCore, head: int) -> int:
    """Take the first buffer off a queue; 0 if it is empty."""
    skb = first(kernel, head)
    if skb:
        unlink(kernel, head, skb)
    return skb


# --- exports ----------------------------------------------------------------------------------------


@export("struct sk_buff *__alloc_skb(unsigned int size, gfp_t gfp_mask, int flags, int node)")
def __alloc_skb(kernel: KernelCore, size: int, gfp_mask: int, flags: int, node: int) -> int:
    """A buffer (net/core/skbuff.c)."""
    return alloc_skb(kernel, size)


@export("void consume_skb(struct sk_buff *skb)")
async def consume_skb(kernel: KernelCore, skb: int) -> None:
    """One reference less of a buffer that was used (net/core/skbuff.c)."""
    await free(kernel, skb)


@export("void kfree_skb(struct sk_buff *skb)")
async def kfree_skb(kernel: KernelCore, skb: int) -> None:
    """One reference less of a buffer that is dropped (net/core/skbuff.c)."""
    await free(kernel, skb)


@export("void kfree_skb_reason(struct sk_buff *skb, enum skb_drop_reason reason)")
async def kfree_skb_reason(kernel: KernelCore, skb: int, reason: int) -> None:
    """kfree_skb()'s name since 5.17 (net/core/skbuff.c)."""
    await free(kernel, skb)


@export("void sk_skb_reason_drop(struct sock *sk, struct sk_buff *skb, enum skb_drop_reason reason)")
async def sk_skb_reason_drop(kernel: KernelCore, sk: int, skb: int, reason: int) -> None:
    """kfree_skb()'s name since 6.11 (net/core/skbuff.c)."""
    await free(kernel, skb)


@export("struct sk_buff *skb_clone(struct sk_buff *skb, gfp_t gfp_mask)")
def skb_clone(kernel: KernelCore, skb: int, gfp_mask: int) -> int:
    """Another sk_buff for the same data (net/core/skbuff.c)."""
    return clone(kernel, skb)


@export("struct sk_buff *skb_copy(const struct sk_buff *skb, gfp_t gfp_mask)")
def skb_copy(kernel: KernelCore, skb: int, gfp_mask: int) -> int:
    """Another sk_buff with data of its own (net/core/skbuff.c)."""
    return copy(kernel, skb)


@export(
    "struct sk_buff *skb_copy_expand(const struct sk_buff *skb, int newheadroom, int newtailroom,"
    " gfp_t gfp_mask)"
)
def skb_copy_expand(kernel: KernelCore, skb: int, newheadroom: int, newtailroom: int, gfp_mask: int) -> int:
    """A copy with other room before and behind (net/core/skbuff.c)."""
    return copy(kernel, skb, newheadroom, newtailroom)


@export("void sock_rfree(struct sk_buff *skb)")
def sock_rfree(kernel: KernelCore, skb: int) -> None:
    """A buffer that its receiver was charged for is freed (net/core/sock.c)."""
    skb_view = view(kernel, skb)
    charge(kernel, skb_view.sk, -skb_view.truesize)
    skb_view.sk = skb_view.destructor = 0


@export("void skb_queue_tail(struct sk_buff_head *list, struct sk_buff *newsk)")
def skb_queue_tail(kernel: KernelCore, list: int, newsk: int) -> None:
    """Put a buffer at the end of a queue (net/core/skbuff.c)."""
    queue_tail(kernel, list, newsk)


@export("void skb_queue_head(struct sk_buff_head *list, struct sk_buff *newsk)")
def skb_queue_head(kernel: KernelCore, list: int, newsk: int) -> None:
    """Put a buffer at the head of a queue (net/core/skbuff.c)."""
    queue_insert(kernel, list, newsk, list, kernel.memory.read_u64(list))


@export("void skb_append(struct sk_buff *old, struct sk_buff *newsk, struct sk_buff_head *list)")
def skb_append(kernel: KernelCore, old: int, newsk: int, list: int) -> None:
    """Put a buffer behind another (net/core/skbuff.c)."""
    queue_insert(kernel, list, newsk, old, kernel.memory.read_u64(old))


@export("struct sk_buff *skb_dequeue(struct sk_buff_head *list)")
def skb_dequeue(kernel: KernelCore, list: int) -> int:
    """Take the first buffer off a queue (net/core/skbuff.c)."""
    return dequeue(kernel, list)


@export("struct sk_buff *skb_dequeue_tail(struct sk_buff_head *list)")
def skb_dequeue_tail(kernel: KernelCore, list: int) -> int:
    """Take the last buffer off a queue (net/core/skbuff.c)."""
    skb = kernel.memory.read_u64(list + _PREV)
    if skb == list:
        return 0
    unlink(kernel, list, skb)
    return skb


@export("void skb_unlink(struct sk_buff *skb, struct sk_buff_head *list)")
def skb_unlink(kernel: KernelCore, skb: int, list: int) -> None:
    """Take a buffer off a queue (net/core/skbuff.c)."""
    unlink(kernel, list, skb)


@export("void skb_queue_purge(struct sk_buff_head *list)")
async def skb_queue_purge(kernel: KernelCore, list: int) -> None:
    """Free all buffers of a queue (net/core/skbuff.c)."""
    while skb := dequeue(kernel, list):
        await free(kernel, skb)


@export("void skb_queue_purge_reason(struct sk_buff_head *list, enum skb_drop_reason reason)")
async def skb_queue_purge_reason(kernel: KernelCore, list: int, reason: int) -> None:
    """skb_queue_purge()'s name since 6.8 (net/core/skbuff.c)."""
    await skb_queue_purge(kernel, list)


@export("void skb_panic(struct sk_buff *skb, unsigned int size, void *addr, bool under)")
def skb_panic(kernel: KernelCore, skb: int, size: int, addr: int, under: bool) -> None:
    """A buffer has no room for what is put into it: a bug of the caller's (net/core/skbuff.c)."""
    skb_view = view(kernel, skb)
    what = "skb_under_panic" if under else "skb_over_panic"
    kernel.printk.emit(
        f"skbuff: {what}: text:{addr:016x} len:{skb_view.len} put:{size} head:{skb_view.head:016x}"
        f" data:{skb_view.data:016x} tail:{skb_view.tail:#x} end:{skb_view.end:#x} dev:<NULL>\n",
        0,
    )
    sentence = f"{size} bytes more do not fit into a socket buffer of {skb_view.end}"
    kernel.oopses.bug(sentence, ("net/core/skbuff.c", 120))
