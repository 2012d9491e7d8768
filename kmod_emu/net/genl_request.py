"""One request to a generic netlink family: checks, attributes, doit and dumpit (net/netlink/genetlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.activation import to_int
from kmod_emu.net import skbuff
from kmod_emu.net.dump import DumpControl, start_dump
from kmod_emu.net.genl_ops import (
    ADMIN_PERM,
    DONT_VALIDATE_DUMP,
    DONT_VALIDATE_DUMP_STRICT,
    DONT_VALIDATE_STRICT,
    UNS_ADMIN_PERM,
    Family,
    Op,
)
from kmod_emu.net.message import header
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.netlink_kernel import netlink_capable
from kmod_emu.net.wire import NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NLMSGHDR
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_NET_ADMIN
from kmod_emu.uapi.socket import NETLINK_GENERIC

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_GENL_HDRLEN = 4
_STRICT = 31  # NL_VALIDATE_STRICT


def header_check(kernel: KernelCore, family: Family, nlh: int, extack: int) -> int:
    """Newer operations are strict about what must be zero (genl_header_check)."""
    head = header(kernel, nlh)
    if head.length < NLMSGHDR.size + _GENL_HDRLEN + family.view.hdrsize:
        return -errno.EINVAL
    cmd, _, reserved = kernel.memory.read(nlh + NLMSGHDR.size, 3)
    reserved |= kernel.memory.read_u8(nlh + NLMSGHDR.size + 3)
    if cmd < family.resv_start_op:
        return 0
    flags = head.flags & ~NLM_F_DUMP if head.flags & NLM_F_DUMP == NLM_F_DUMP else head.flags
    text = ""
    if reserved:
        text = "genl_bad_reserved"
    elif flags & ~(NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO):
        text = "genl_bad_flags"
    if text:
        kernel.view("netlink_ext_ack", extack).set("_msg", kernel.symbols.address(text))
        return -errno.EINVAL
    return 0


async def receive_family(kernel: KernelCore, family: Family, skb: int, nlh: int, extack: int) -> int:
    """Find the operation, and do it (genl_family_rcv_msg)."""
    cmd = kernel.memory.read_u8(nlh + NLMSGHDR.size)
    dump = header(kernel, nlh).flags & NLM_F_DUMP == NLM_F_DUMP
    op = family.find(cmd, dump=dump)
    if op is None:
        return -errno.EOPNOTSUPP
    if op.flags & (ADMIN_PERM | UNS_ADMIN_PERM) and not netlink_capable(kernel, skb, CAP_NET_ADMIN):
        return -errno.EPERM
    if dump:
        return await _dumpit(kernel, family, op, skb, nlh, extack)
    return await _doit(kernel, family, op, skb, nlh, extack)


async def _parse(
    kernel: KernelCore, family: Family, op: Op, nlh: int, extack: int, liberal: int
) -> tuple[int, int]:
    """The table of attributes (0 for none) and 0, or 0 and a negative errno."""
    if not op.maxattr:
        return 0, 0
    table = kernel.heap.kmalloc(8 * (op.maxattr + 1))
    if not table:
        return 0, -errno.ENOMEM
    skip = NLMSGHDR.size + (_GENL_HDRLEN + family.view.hdrsize + 3 & ~3)
    left = header(kernel, nlh).length - skip
    strict = 0 if op.validate & liberal else _STRICT
    parse = kernel.symbols.address("__nla_parse")
    error = to_int(
        await kernel.call_guest(
            parse, table, op.maxattr, nlh + skip, left & 0xFFFF_FFFF, op.policy, strict, extack
        )
    )
    if error:
        kernel.heap.kfree(table)
        return 0, error
    return table, 0


def _fill_info(
    kernel: KernelCore, family: Family, info: int, skb: int, nlh: int, attrs: int, extack: int
) -> None:
    view, memory = kernel.view("genl_info", info), kernel.memory
    view.snd_seq = header(kernel, nlh).seq
    view.snd_portid = skbuff.control_block(kernel, skb).portid
    view.nlhdr, view.genlhdr, view.attrs, view.extack = nlh, nlh + NLMSGHDR.size, attrs, extack
    if view.has("userhdr"):
        view.userhdr = nlh + NLMSGHDR.size + _GENL_HDRLEN
    if view.has("family"):
        view.family = family.address
    memory.write_u64(view.addressof("_net"), kernel.symbols.address("init_net"))


async def _doit(kernel: KernelCore, family: Family, op: Op, skb: int, nlh: int, extack: int) -> int:
    """Answer at once (genl_family_rcv_msg_doit)."""
    if not op.doit:
        return -errno.EOPNOTSUPP
    attrs, error = await _parse(kernel, family, op, nlh, extack, DONT_VALIDATE_STRICT)
    if error:
        return error
    heap = kernel.heap
    info = heap.kmalloc(kernel.profile.struct("genl_info").size)
    shown = heap.kmalloc(64)
    _fill_info(kernel, family, info, skb, nlh, attrs, extack)
    family.write_op(op, shown)
    if op.pre:
        error = to_int(await kernel.call_guest(op.pre, shown, skb, info))
    if not error:
        error = to_int(await kernel.call_guest(op.doit, skb, info))
        if op.post:
            await kernel.call_guest(op.post, shown, skb, info)
    for block in (attrs, info, shown):
        heap.kfree(block)
    return error


class GenlDump(DumpControl):
    """A dump of a family's, with the lock around its functions unless they may run at the same time."""

    def __init__(self, kernel: KernelCore, family: Family, op: Op, request: tuple[int, int, int]) -> None:
        super().__init__(
            kernel, start=op.start, dump=op.dumpit, done=op.done, module=family.view.get("module")
        )
        self.family, self.op, self.request = family, op, request
        self.attrs = self.info = 0

    async def locked(self, on: bool) -> None:
        """Take or give back genl_mutex."""
        if not self.family.parallel:
            kernel = self.kernel
            name = "mutex_lock" if on else "mutex_unlock"
            await kernel.call_guest(kernel.symbols.address(name), kernel.symbols.address("genl_mutex"))

    async def start(self, cb: int) -> int:
        """Parse the attributes, lay out a struct genl_dumpit_info, and call the family's (genl_start)."""
        kernel, op = self.kernel, self.op
        skb, nlh, extack = self.request
        if not op.validate & DONT_VALIDATE_DUMP:
            self.attrs, error = await _parse(kernel, self.family, op, nlh, extack, DONT_VALIDATE_DUMP_STRICT)
            if error:
                return error
        self._lay_out(cb, skb, nlh)
        await self.locked(True)
        error = await super().start(cb)
        await self.locked(False)
        if error:
            self._free()
        return error

    def _lay_out(self, cb: int, skb: int, nlh: int) -> None:
        kernel, profile = self.kernel, self.kernel.profile
        if self.family.view.has("split_ops"):  # the operation, then a genl_info
            op_size = profile.struct("genl_split_ops").size
            self.info = kernel.heap.kmalloc(op_size + profile.struct("genl_info").size)
            self.family.write_op(self.op, self.info)
            _fill_info(kernel, self.family, self.info + op_size, skb, nlh, self.attrs, 0)
        else:  # the family, the operation, the attributes
            op_size = profile.struct("genl_ops").size
            self.info = kernel.heap.kmalloc(op_size + 16)
            kernel.memory.write_u64(self.info, self.family.address)
            self.family.write_op(self.op, self.info + 8)
            kernel.memory.write_u64(self.info + 8 + op_size, self.attrs)
        kernel.view("netlink_callback", cb).set("data", self.info)

    async def dump(self, skb: int, cb: int) -> int:
        """The family's, under the lock."""
        await self.locked(True)
        result = await super().dump(skb, cb)
        await self.locked(False)
        return result

    async def done(self, cb: int) -> None:
        """The family's, under the lock."""
        if self.functions[2]:
            await self.locked(True)
            await super().done(cb)
            await self.locked(False)
        self._free()

    def _free(self) -> None:
        for block in (self.attrs, self.info):
            self.kernel.heap.kfree(block)
        self.attrs = self.info = 0


async def _dumpit(kernel: KernelCore, family: Family, op: Op, skb: int, nlh: int, extack: int) -> int:
    """Answer part by part (genl_family_rcv_msg_dumpit)."""
    if not op.dumpit:
        return -errno.EOPNOTSUPP
    portid = skbuff.control_block(kernel, skb).portid
    sender = kernel[Netlink].table[NETLINK_GENERIC].lookup(portid)
    control = GenlDump(kernel, family, op, (skb, nlh, extack))
    if not family.parallel:
        await control.locked(False)
    error = await start_dump(sender.user if sender else None, skb, nlh, control)
    if not family.parallel:
        await control.locked(True)
    return error
