"""What modules call of netlink (net/netlink/af_netlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.net import skbuff
from kmod_emu.net.dump import DumpControl, start_dump
from kmod_emu.net.message import ack, receive
from kmod_emu.net.netlink import Netlink, NetlinkSock
from kmod_emu.uapi import errno
from kmod_emu.uapi.socket import MAX_LINKS, NETLINK_TAKEN

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_SKB_DST = 8
_LISTS = ("list", "exit_list", "rules_ops", "dev_base_head", "fib_notifier_ops")  # of a namespace: empty


@export_data("struct net init_net", lambda kernel: kernel.profile.struct("net").size)
def init_net(kernel: KernelCore, address: int) -> None:
    """The only network namespace."""
    net = kernel.view("net", address)
    net.passive = 1
    net.user_ns = kernel.symbols.address("init_user_ns")
    for name in _LISTS:
        if net.has(name):
            lists.init(kernel.memory, net.addressof(name))


def _sock(kernel: KernelCore, address: int) -> NetlinkSock:
    """The socket at an address that a module hands over; what is none faults as a wild pointer does."""
    sock = kernel[Netlink].by_address(address)
    if sock is None:
        kernel.view("sock", address).sk_protocol  # noqa: B018 - NULL faults here
        kernel.oopses.bug(f"{address:#x} is no netlink socket: it was released, or never was one")
    return sock


@export(
    "struct sock *__netlink_kernel_create(struct net *net, int unit, struct module *module,"
    " struct netlink_kernel_cfg *cfg)"
)
def __netlink_kernel_create(kernel: KernelCore, net: int, unit: int, module: int, cfg: int) -> int:
    """The kernel's end of a protocol; NULL if there is one already or memory is used up."""
    netlink = kernel[Netlink]
    if not 0 <= unit < MAX_LINKS or unit in NETLINK_TAKEN:
        return 0
    view = kernel.view("netlink_kernel_cfg", cfg) if cfg else None
    row = netlink.table[unit]
    first = not row.registered
    groups = view.groups if view else 0
    sock = netlink.kernel_create(unit, groups, view.get("input") if view else 0, net)
    if sock is None:
        return 0
    if first:
        row.module = module
        if view:
            row.flags, row.bind, row.unbind = view.flags, view.get("bind"), view.get("unbind")
    return sock.address


@export("void netlink_kernel_release(struct sock *sk)")
async def netlink_kernel_release(kernel: KernelCore, sk: int) -> None:
    """The kernel's end of a protocol goes; programs' sockets then reach nobody."""
    if sk and kernel.view("sock", sk).sk_socket:
        await kernel[Netlink].kernel_release(_sock(kernel, sk))


@export("int netlink_unicast(struct sock *ssk, struct sk_buff *skb, u32 portid, int nonblock)")
async def netlink_unicast(kernel: KernelCore, ssk: int, skb: int, portid: int, nonblock: int) -> int:
    """Send a message to one socket; the buffer is used up."""
    return await kernel[Netlink].unicast(_sock(kernel, ssk), skb, portid, nonblock=bool(nonblock))


@export(
    "int netlink_broadcast(struct sock *ssk, struct sk_buff *skb, __u32 portid, __u32 group,"
    " gfp_t allocation)"
)
async def netlink_broadcast(
    kernel: KernelCore, ssk: int, skb: int, portid: int, group: int, allocation: int
) -> int:
    """Send a message to a group; the buffer is used up."""
    return await kernel[Netlink].broadcast(_sock(kernel, ssk), skb, portid, group)


@export(
    "int nlmsg_notify(struct sock *sk, struct sk_buff *skb, u32 portid, unsigned int group, int report,"
    " gfp_t flags)"
)
async def nlmsg_notify(
    kernel: KernelCore, sk: int, skb: int, portid: int, group: int, report: int, flags: int
) -> int:
    """Tell a group, and who asked if it wants a report."""
    netlink, source, error = kernel[Netlink], _sock(kernel, sk), 0
    if group:
        skbuff.view(kernel, skb).users += bool(report)
        skbuff.control_block(kernel, skb).dst_group = group
        error = await netlink.broadcast(source, skb, portid if report else 0, group)
        error = 0 if error == -errno.ESRCH else error
    if report:
        error = error or min(await netlink.unicast(source, skb, portid, nonblock=True), 0)
    return error


@export("int netlink_has_listeners(struct sock *sk, unsigned int group)")
def netlink_has_listeners(kernel: KernelCore, sk: int, group: int) -> int:
    """Whether anybody is in a group."""
    return bool(kernel[Netlink].listeners(_sock(kernel, sk).protocol, group))


@export("int netlink_set_err(struct sock *ssk, u32 portid, u32 group, int code)")
def netlink_set_err(kernel: KernelCore, ssk: int, portid: int, group: int, code: int) -> int:
    """Let the next call of every socket of a group fail; how many do not want to know of ENOBUFS."""
    source, count = _sock(kernel, ssk), 0
    for sock in kernel[Netlink].listeners(source.protocol, group):
        if sock.portid == portid or sock.user is None:
            continue
        if -code == errno.ENOBUFS and sock.user.no_enobufs:
            count += 1
        else:
            sock.user.report(-code)
    return count


@export(
    "void netlink_ack(struct sk_buff *in_skb, struct nlmsghdr *nlh, int err,"
    " const struct netlink_ext_ack *extack)"
)
async def netlink_ack(kernel: KernelCore, in_skb: int, nlh: int, err: int, extack: int) -> None:
    """Tell the sender of a request how it went."""
    view = kernel.view("netlink_ext_ack", extack) if extack else None
    await ack(kernel, in_skb, nlh, err, view)


@export(
    "int netlink_rcv_skb(struct sk_buff *skb,"
    " int (*cb)(struct sk_buff *, struct nlmsghdr *, struct netlink_ext_ack *))"
)
async def netlink_rcv_skb(kernel: KernelCore, skb: int, cb: int) -> int:
    """Hand each request in a buffer to a function, and acknowledge."""

    async def handle(skb: int, nlh: int, extack: int) -> int:
        return to_int(await kernel.call_guest(cb, skb, nlh, extack))

    return await receive(kernel, skb, handle)


@export(
    "int __netlink_dump_start(struct sock *ssk, struct sk_buff *skb, const struct nlmsghdr *nlh,"
    " struct netlink_dump_control *control)"
)
async def __netlink_dump_start(kernel: KernelCore, ssk: int, skb: int, nlh: int, control: StructView) -> int:
    """Answer part by part; EINTR says that there is no acknowledgement."""
    source = _sock(kernel, ssk)
    parts = DumpControl(
        kernel,
        start=control.get("start"),
        dump=control.get("dump"),
        done=control.get("done"),
        module=control.get("module"),
        data=control.get("data"),
    )
    parts.min_dump_alloc = control.min_dump_alloc
    portid = skbuff.control_block(kernel, skb).portid
    target = kernel[Netlink].table[source.protocol].lookup(portid)
    return await start_dump(target.user if target else None, skb, nlh, parts)


@export("bool netlink_strict_get_check(struct sk_buff *skb)")
def netlink_strict_get_check(kernel: KernelCore, skb: int) -> bool:
    """Whether the sender wants its requests checked strictly."""
    sender = kernel[Netlink].by_address(skbuff.control_block(kernel, skb).sk)
    return bool(sender and sender.user and sender.user.strict)


@export("void do_trace_netlink_extack(const char *msg)")
def do_trace_netlink_extack(kernel: KernelCore, msg: int) -> None:
    """A tracepoint that nobody listens to."""


# --- who may ----------------------------------------------------------------------------------------


def _capable(kernel: KernelCore, parms: StructView, cap: int) -> bool:
    """The sender when it opened its socket, unless it named a receiver, and who sends now."""
    sender = kernel[Netlink].by_address(parms.sk)
    opened = bool(parms.flags & _SKB_DST)
    if not opened and sender and sender.user:
        opened = bool(sender.user.opener >> cap & 1)
    return opened and kernel.sched.current.capable(cap)


@export(
    "bool __netlink_ns_capable(const struct netlink_skb_parms *nsp, struct user_namespace *user_ns, int cap)"
)
def __netlink_ns_capable(kernel: KernelCore, nsp: StructView, user_ns: int, cap: int) -> bool:
    """Whether a message's sender had a capability, and has it."""
    return _capable(kernel, nsp, cap)


@export("bool netlink_ns_capable(const struct sk_buff *skb, struct user_namespace *user_ns, int cap)")
def netlink_ns_capable(kernel: KernelCore, skb: int, user_ns: int, cap: int) -> bool:
    """Whether a message's sender had a capability, and has it."""
    return _capable(kernel, skbuff.control_block(kernel, skb), cap)


@export("bool netlink_capable(const struct sk_buff *skb, int cap)")
def netlink_capable(kernel: KernelCore, skb: int, cap: int) -> bool:
    """Whether a message's sender had a capability, and has it."""
    return _capable(kernel, skbuff.control_block(kernel, skb), cap)


@export("bool netlink_net_capable(const struct sk_buff *skb, int cap)")
def netlink_net_capable(kernel: KernelCore, skb: int, cap: int) -> bool:
    """Whether a message's sender had a capability, and has it."""
    return _capable(kernel, skbuff.control_block(kernel, skb), cap)
