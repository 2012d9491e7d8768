"""The connector: messages to modules that took a number, on one netlink protocol (drivers/connector/)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.net import skbuff
from kmod_emu.net.message import header
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.wire import NLMSG_DONE, NLMSGHDR, message
from kmod_emu.uapi import errno
from kmod_emu.uapi.socket import NETLINK_CONNECTOR

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_ID = struct.Struct("<II")  # struct cb_id
_CN_MSG = struct.Struct("<IIIIHH")  # struct cn_msg: id, sequence, acknowledged, length, flags
_LONGEST, _GROUPS, _NAME = 16384, 26, 31

Id = tuple[int, int]


class Connector:
    """Who took which number: name and callback, in order."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.taken: dict[Id, tuple[str, int]] = {}
        self.sock = kernel[Netlink].own(NETLINK_CONNECTOR, _GROUPS, self._receive, flags=0)

    def read_id(self, address: int) -> Id:
        """A struct cb_id."""
        idx, val = _ID.unpack(self._kernel.memory.read(address, _ID.size))
        return idx, val

    async def _receive(self, skb: int) -> int:
        """A program sent something (cn_rx_skb); what is malformed or for nobody is dropped."""
        kernel = self._kernel
        view = skbuff.view(kernel, skb)
        if view.len < NLMSGHDR.size:
            return 0
        length, left = header(kernel, view.data).length, view.len
        size = length - NLMSGHDR.size
        if not _CN_MSG.size <= size <= _LONGEST or left < length:
            return 0
        msg = view.data + NLMSGHDR.size
        known = self.taken.get(self.read_id(msg))
        if known and size >= _CN_MSG.size + _CN_MSG.unpack(kernel.memory.read(msg, _CN_MSG.size))[4]:
            await kernel.call_guest(known[1], msg, view.addressof("cb"))
        return 0

    def text(self) -> str:
        """/proc/net/connector."""
        rows = [f"{name:<15} {idx}:{val}\n" for (idx, val), (name, _) in self.taken.items()]
        return "".join(["Name            ID\n", *rows])

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[*key, *value] for key, value in self.taken.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.taken = {(idx, val): (name, callback) for idx, val, name, callback in state}


@export(
    "int cn_add_callback(const struct cb_id *id, const char *name,"
    " void (*callback)(struct cn_msg *, struct netlink_skb_parms *))"
)
def cn_add_callback(kernel: KernelCore, id: int, name: str, callback: int) -> int:
    """Take a number; EINVAL, it is taken (drivers/connector/connector.c)."""
    connector = kernel[Connector]
    key = connector.read_id(id)
    if key in connector.taken:
        return -errno.EINVAL
    connector.taken[key] = (name[:_NAME], callback)
    return 0


@export("void cn_del_callback(const struct cb_id *id)")
def cn_del_callback(kernel: KernelCore, id: int) -> None:
    """Give a number back (drivers/connector/connector.c)."""
    connector = kernel[Connector]
    connector.taken.pop(connector.read_id(id), None)


@export("int cn_netlink_send(struct cn_msg *msg, u32 portid, u32 __group, gfp_t gfp_mask)")
async def cn_netlink_send(kernel: KernelCore, msg: int, portid: int, __group: int, gfp_mask: int) -> int:
    """Send a message to a group, by default that of who took the number (drivers/connector/connector.c)."""
    length = _CN_MSG.unpack(kernel.memory.read(msg, _CN_MSG.size))[4]
    return await cn_netlink_send_mult(kernel, msg, length, portid, __group, gfp_mask)


@export(
    "int cn_netlink_send_mult(struct cn_msg *msg, u16 len, u32 portid, u32 __group, gfp_t gfp_mask)",
    Fidelity.APPROXIMATE,
)
async def cn_netlink_send_mult(
    kernel: KernelCore, msg: int, len: int, portid: int, __group: int, gfp_mask: int
) -> int:
    """Send several messages in one; a filter is not asked (drivers/connector/connector.c)."""
    connector, netlink, group = kernel[Connector], kernel[Netlink], __group
    if not portid and not group:
        key = connector.read_id(msg)
        if key not in connector.taken:
            return -errno.ENODEV
        group = key[0]
    if not portid and not netlink.listeners(NETLINK_CONNECTOR, group):
        return -errno.ESRCH
    data = kernel.memory.read(msg, _CN_MSG.size + len)
    skb = skbuff.new_skb(kernel, message(NLMSG_DONE, data, seq=_CN_MSG.unpack(data[: _CN_MSG.size])[2]))
    if not skb:
        return -errno.ENOMEM
    skbuff.control_block(kernel, skb).dst_group = group
    if group:
        return await netlink.broadcast(connector.sock, skb, portid, group)
    return await netlink.unicast(connector.sock, skb, portid, nonblock=not gfp_mask & 0x400)
