"""Netlink messages: reading requests, and acknowledging them (net/netlink/af_netlink.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.net import skbuff
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.policy import describe
from kmod_emu.net.wire import (
    ATTR_COOKIE,
    ATTR_MISS_NEST,
    ATTR_MISS_TYPE,
    ATTR_MSG,
    ATTR_OFFS,
    ATTR_POLICY,
    NLA_F_NESTED,
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    NLMSG_MIN_TYPE,
    NLMSGHDR,
    attribute,
    message,
    pad,
)
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

    Receive = Callable[[int, int, int], Awaitable[int]]  # sk_buff, header, extended acknowledgement


class Header(NamedTuple):
    """A struct nlmsghdr in guest memory."""

    length: int
    type: int
    flags: int
    seq: int
    pid: int


def header(kernel: KernelCore, nlh: int) -> Header:
    """Read one."""
    return Header(*NLMSGHDR.unpack(kernel.memory.read(nlh, NLMSGHDR.size)))


def put(kernel: KernelCore, skb: int, data: bytes) -> bool:
    """Append to a buffer; False if there is no room."""
    view = skbuff.view(kernel, skb)
    if view.end - view.tail < len(data):
        return False
    kernel.memory.write(view.head + view.tail, data)
    view.tail += len(data)
    view.len += len(data)
    return True


def new_extack(kernel: KernelCore) -> StructView:
    """An empty extended acknowledgement, for the heap's free list afterwards."""
    size = kernel.profile.struct("netlink_ext_ack").size
    return kernel.view("netlink_ext_ack", kernel.heap.kmalloc(size))


async def receive(kernel: KernelCore, skb: int, handle: Receive) -> int:
    """Handle each request in a buffer, and acknowledge those that ask for it or fail (netlink_rcv_skb)."""
    view = skbuff.view(kernel, skb)
    while view.len >= NLMSGHDR.size:
        nlh, length = view.data, view.len
        head = header(kernel, nlh)
        if head.length < NLMSGHDR.size or length < head.length:
            return 0
        error, extack = 0, new_extack(kernel)
        if head.flags & NLM_F_REQUEST and head.type >= NLMSG_MIN_TYPE:
            error = await handle(skb, nlh, extack.address)
        if error != -errno.EINTR and (head.flags & NLM_F_ACK or error):
            await ack(kernel, skb, nlh, error, extack)
        kernel.heap.kfree(extack.address)
        size = min(head.length + 3 & ~3, length)
        view.len -= size
        view.data += size
    return 0


async def ack(kernel: KernelCore, in_skb: int, nlh: int, error: int, extack: StructView | None) -> None:
    """Tell the sender of a request how it went (netlink_ack)."""
    netlink, memory = kernel[Netlink], kernel.memory
    cb = skbuff.control_block(kernel, in_skb)
    sender = netlink.by_address(cb.sk)
    user = sender.user if sender else None
    source = netlink.by_address(skbuff.view(kernel, in_skb).sk)
    if sender is None or source is None:
        return
    head = header(kernel, nlh)
    flags, echo = 0, memory.read(nlh, NLMSGHDR.size)
    if error and not (user and user.cap_ack):
        echo = memory.read(nlh, head.length)
    else:
        flags |= NLM_F_CAPPED
    more = b""
    if extack is not None and user and user.ext_ack:
        more = _tlvs(kernel, nlh, error, extack)
        flags |= NLM_F_ACK_TLVS if more else 0
    payload = pad(struct.pack("<i", error) + echo) + more
    answer = message(NLMSG_ERROR, payload, flags=flags, seq=head.seq, pid=cb.portid)
    skb = skbuff.new_skb(kernel, answer)
    if not skb:
        if user:
            user.report(errno.ENOBUFS)
        return
    await netlink.unicast(source, skb, cb.portid, nonblock=True)


def _tlvs(kernel: KernelCore, nlh: int, error: int, extack: StructView) -> bytes:
    """What an extended acknowledgement says, as attributes (netlink_ack_tlv_fill)."""
    parts = []
    text = extack.get("_msg")
    if text:
        parts.append(attribute(ATTR_MSG, kernel.memory.read_cstring(text) + b"\0"))
    if extack.cookie_len:
        parts.append(attribute(ATTR_COOKIE, extack.bytes("cookie")[: extack.cookie_len]))
    if error:
        if extack.bad_attr:
            parts.append(attribute(ATTR_OFFS, extack.bad_attr - nlh & 0xFFFF_FFFF))
        if extack.policy:
            description = describe(kernel, extack.policy)
            parts += [attribute(ATTR_POLICY | NLA_F_NESTED, description)] if description else []
        if extack.has("miss_type") and extack.miss_type:
            parts.append(attribute(ATTR_MISS_TYPE, extack.miss_type))
        if extack.has("miss_nest") and extack.miss_nest:
            parts.append(attribute(ATTR_MISS_NEST, extack.miss_nest - nlh & 0xFFFF_FFFF))
    return b"".join(parts)
