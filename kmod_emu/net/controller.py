"""The family "nlctrl", which tells of all families (net/netlink/genetlink.c: genl_ctrl)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export_data
from kmod_emu.net import skbuff
from kmod_emu.net.dump import DumpControl, start_dump
from kmod_emu.net.genl_ops import DO, DONT_VALIDATE_DUMP, DONT_VALIDATE_STRICT, DUMP, HASPOL, Family, Op
from kmod_emu.net.message import header, put
from kmod_emu.net.netlink import Netlink
from kmod_emu.net.policy import Policies
from kmod_emu.net.wire import NLA_F_NESTED, NLM_F_DUMP, NLM_F_MULTI, NLMSGHDR, attribute, attributes, message
from kmod_emu.uapi import errno
from kmod_emu.uapi.socket import AF_NETLINK, NETLINK_GENERIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.net.genetlink import Genetlink

ID_CTRL, _VERSION, _MAXATTR = 0x10, 2, 0
NEWFAMILY, DELFAMILY, _GETFAMILY, NEWMCAST_GRP, DELMCAST_GRP, _GETPOLICY = 1, 2, 3, 7, 8, 10
_FAMILY_ID, _FAMILY_NAME, _ATTR_VERSION, _HDRSIZE, _ATTR_MAXATTR, _OPS, _MCAST_GROUPS = range(1, 8)
_POLICY, _OP_POLICY, _OP = 8, 9, 10
_POLICY_DO, _POLICY_DUMP = 1, 2
_OP_ID, _OP_FLAGS = 1, 2
_STRICT = 31  # NL_VALIDATE_STRICT
_GRP_NAME, _GRP_ID = 1, 2


class Facts(NamedTuple):
    """What is told of a family; operations are command and flags, groups name and number."""

    number: int
    name: str
    version: int
    hdrsize: int
    maxattr: int
    ops: Sequence[tuple[int, int]]
    groups: Sequence[tuple[str, int]]


_OWN = Facts(
    ID_CTRL,
    "nlctrl",
    _VERSION,
    0,
    _MAXATTR,
    [(_GETFAMILY, DO | DUMP | HASPOL), (_GETPOLICY, DUMP | HASPOL)],
    [("notify", ID_CTRL)],
)


def _facts(family: Family) -> Facts:
    view = family.view
    ops: dict[int, int] = {}
    for op in family.ops():
        ops[op.cmd] = ops.get(op.cmd, 0) | op.capabilities
    groups = [
        (name.partition("\0")[0], view.mcgrp_offset + index)
        for index, (name, _) in enumerate(family.groups())
    ]
    return Facts(view.id, family.name, view.version, view.hdrsize, view.maxattr, [*ops.items()], groups)


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode("latin-1") + b"\0")


def _identity(facts: Facts) -> bytes:
    return _text(_FAMILY_NAME, facts.name) + attribute(_FAMILY_ID, facts.number, 2)


def _groups(groups: Sequence[tuple[str, int]]) -> bytes:
    rows = [
        attribute(index, attribute(_GRP_ID, number) + _text(_GRP_NAME, name))
        for index, (name, number) in enumerate(groups, 1)
    ]
    return attribute(_MCAST_GROUPS, b"".join(rows)) if rows else b""


def describe(facts: Facts, cmd: int, *, flags: int = 0, seq: int = 0, pid: int = 0) -> bytes:
    """The message about a family (ctrl_fill_info)."""
    body = _identity(facts)
    body += attribute(_ATTR_VERSION, facts.version) + attribute(_HDRSIZE, facts.hdrsize)
    body += attribute(_ATTR_MAXATTR, facts.maxattr)
    rows = [
        attribute(index, attribute(_OP_ID, cmd_) + attribute(_OP_FLAGS, op_flags))
        for index, (cmd_, op_flags) in enumerate(facts.ops, 1)
    ]
    body += attribute(_OPS, b"".join(rows)) if rows else b""
    return _message(cmd, body + _groups(facts.groups), flags=flags, seq=seq, pid=pid)


def _message(cmd: int, body: bytes, *, flags: int = 0, seq: int = 0, pid: int = 0) -> bytes:
    return message(ID_CTRL, bytes((cmd, _VERSION, 0, 0)) + body, flags=flags, seq=seq, pid=pid)


async def announce(kernel: KernelCore, family: Family, cmd: int, group: int | None = None) -> None:
    """Tell the group "notify" of a family, or of one of its groups (genl_ctrl_event)."""
    facts = _facts(family)
    if group is None:
        data = describe(facts, cmd)
    else:
        data = _message(cmd, _identity(facts) + _groups([facts.groups[group]]))
    kernel[Netlink].announce(NETLINK_GENERIC, ID_CTRL, data)


# --- requests -------------------------------------------------------------------------------------


@export_data("struct nla_policy ctrl_policy_family[]", 16 * (_OP + 1))
def ctrl_policy_family(kernel: KernelCore, address: int) -> None:
    """A number, a name of at most 15 characters, the number of an operation."""
    for kind, policy in ((_FAMILY_ID, (2, 0, 0, 0)), (_FAMILY_NAME, (10, 0, 15, 0)), (_OP, (3, 0, 0, 0))):
        kernel.memory.write(address + 16 * kind, bytes(policy))


@export_data("const char genl_bad_reserved[]", 40)
def genl_bad_reserved(kernel: KernelCore, address: int) -> None:
    """What an extended acknowledgement says of a reserved field."""
    kernel.memory.write(address, b"genlmsghdr.reserved field is not 0\0")


@export_data("const char genl_bad_flags[]", 48)
def genl_bad_flags(kernel: KernelCore, address: int) -> None:
    """What an extended acknowledgement says of flags."""
    kernel.memory.write(address, b"ambiguous or reserved bits set in nlmsg_flags\0")


async def handle(kernel: KernelCore, genl: Genetlink, skb: int, nlh: int, extack: int) -> int:
    """A request to the controller itself."""
    head = header(kernel, nlh)
    if head.length < NLMSGHDR.size + 4:
        return -errno.EINVAL
    cmd = kernel.memory.read_u8(nlh + NLMSGHDR.size)
    dump = head.flags & NLM_F_DUMP == NLM_F_DUMP
    if cmd != _GETFAMILY and not (cmd == _GETPOLICY and dump):
        return -errno.EOPNOTSUPP
    portid = skbuff.control_block(kernel, skb).portid
    sender = kernel[Netlink].table[NETLINK_GENERIC].lookup(portid)
    user = sender.user if sender else None
    many = {"flags": NLM_F_MULTI, "seq": head.seq, "pid": portid}
    if dump and cmd == _GETFAMILY:
        every = [_OWN, *map(_facts, genl.families())]
        messages = [describe(facts, NEWFAMILY, **many) for facts in every]
        return await start_dump(user, skb, nlh, _Prepared(kernel, messages))
    place, size = nlh + NLMSGHDR.size + 4, head.length - NLMSGHDR.size - 4
    validate, policy = (kernel.symbols.address(name) for name in ("__nla_validate", "ctrl_policy_family"))
    most, strict = (_FAMILY_NAME, 0) if cmd == _GETFAMILY else (_OP, _STRICT)
    error = to_int(await kernel.call_guest(validate, place, size, most, policy, strict, extack))
    if error:
        return error
    asked = attributes(kernel.memory.read(place, size))
    facts = await _find(kernel, genl, asked)
    if isinstance(facts, int):
        return facts
    if cmd == _GETPOLICY:
        bodies = _policies(kernel, genl.find(facts.number), asked)
        if isinstance(bodies, int):
            return bodies
        messages = [
            _message(_GETPOLICY, attribute(_FAMILY_ID, facts.number, 2) + body, **many) for body in bodies
        ]
        return await start_dump(user, skb, nlh, _Prepared(kernel, messages))
    answer = skbuff.new_skb(kernel, describe(facts, NEWFAMILY, seq=head.seq, pid=portid))
    if not answer:
        return -errno.ENOBUFS
    return min(await kernel[Netlink].unicast(genl.sock, answer, portid, nonblock=True), 0)


def _policies(kernel: KernelCore, family: Family | None, asked: dict[int, bytes]) -> list[bytes] | int:
    """Which policy each operation has, then what is in the policies; ENOENT, ENODATA (ctrl_dumppolicy)."""
    ops: list[Op] = list(family.ops()) if family else [_own_op(kernel, cmd) for cmd, _ in _OWN.ops]
    if _OP in asked:
        wanted = int.from_bytes(asked[_OP][:4], "little")
        ops = [op for op in ops if op.cmd == wanted]
        if not ops:
            return -errno.ENOENT
    policies, bodies = Policies(kernel), []
    for op in ops:
        if op.policy:
            policies.add(op.policy, op.maxattr)
    for op in ops:
        kinds = [_POLICY_DO] if op.doit else []
        kinds += [_POLICY_DUMP] if op.dumpit and not op.validate & DONT_VALIDATE_DUMP else []
        if op.policy and kinds:
            index = policies.index(op.policy, op.maxattr)
            which = b"".join(attribute(kind, index) for kind in kinds)
            bodies.append(attribute(_OP_POLICY | NLA_F_NESTED, attribute(op.cmd | NLA_F_NESTED, which)))
    bodies += [attribute(_POLICY | NLA_F_NESTED, text) for text in policies.attributes()]
    return bodies if policies.found else -errno.ENODATA


def _own_op(kernel: KernelCore, cmd: int) -> Op:
    policy = kernel.symbols.address("ctrl_policy_family")
    if cmd == _GETFAMILY:
        validate = DONT_VALIDATE_STRICT | DONT_VALIDATE_DUMP
        return Op(cmd, 0, 0, validate, doit=1, dumpit=1, policy=policy, maxattr=_FAMILY_NAME)
    return Op(cmd, 0, 0, 0, dumpit=1, policy=policy, maxattr=_OP)


async def _find(kernel: KernelCore, genl: Genetlink, asked: dict[int, bytes]) -> Facts | int:
    """Whom a request means: by name, which may load a module, or by number; or a negative errno."""
    if _FAMILY_NAME in asked:
        name = asked[_FAMILY_NAME].partition(b"\0")[0].decode("latin-1")
        if name == _OWN.name:
            return _OWN
        family = genl.find_name(name)
        if family is None:
            await genl.unlock_read()
            await kernel.request_module(f"net-pf-{AF_NETLINK}-proto-{NETLINK_GENERIC}-family-{name}")
            await genl.lock_read()
            family = genl.find_name(name)
    elif _FAMILY_ID in asked:
        number = int.from_bytes(asked[_FAMILY_ID][:2], "little")
        if number == ID_CTRL:
            return _OWN
        family = genl.find(number)
    else:
        return -errno.EINVAL
    return _facts(family) if family else -errno.ENOENT


class _Prepared(DumpControl):
    """A dump of messages that are there already."""

    def __init__(self, kernel: KernelCore, messages: list[bytes]) -> None:
        super().__init__(kernel)
        self._left = messages

    async def dump(self, skb: int, cb: int) -> int:
        """As many as there is room for."""
        before = skbuff.view(self.kernel, skb).len
        while self._left and put(self.kernel, skb, self._left[0]):
            self._left.pop(0)
        return skbuff.view(self.kernel, skb).len - before
