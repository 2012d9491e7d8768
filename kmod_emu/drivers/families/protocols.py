"""Protocol families, transport protocols, receivers of packets, kinds of links (net/core/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare, families, refused
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_AF_MAX = 46
_SOCKETS, KIND_OF_LINKS = "protocol family", "kind of links"
# The kernel's names of protocol families (net/socket.c), and those that Debian's kernel has itself.
_FAMILIES = [
    "PF_UNSPEC",
    "PF_UNIX/PF_LOCAL",
    "PF_INET",
    "PF_AX25",
    "PF_IPX",
    "PF_APPLETALK",
    "PF_NETROM",
    "PF_BRIDGE",
    "PF_ATMPVC",
    "PF_X25",
    "PF_INET6",
    "PF_ROSE",
    "PF_DECnet",
    "PF_NETBEUI",
    "PF_SECURITY",
    "PF_KEY",
    "PF_NETLINK/PF_ROUTE",
    "PF_PACKET",
    "PF_ASH",
    "PF_ECONET",
    "PF_ATMSVC",
    "PF_RDS",
    "PF_SNA",
    "PF_IRDA",
    "PF_PPPOX",
    "PF_WANPIPE",
    "PF_LLC",
    "PF_IB",
    "PF_MPLS",
    "PF_CAN",
    "PF_TIPC",
    "PF_BLUETOOTH",
    "PF_IUCV",
    "PF_RXRPC",
    "PF_ISDN",
    "PF_PHONET",
    "PF_IEEE802154",
    "PF_CAIF",
    "PF_ALG",
    "PF_NFC",
    "PF_VSOCK",
    "PF_KCM",
    "PF_QIPCRTR",
    "PF_SMC",
    "PF_XDP",
    "PF_MCTP",
]
_OWN_FAMILIES = (1, 2, 10, 16, 17, 44)
_COMES = "<6>NET: Registered {} protocol family"  # the kernel says so even when it refuses
_ICMP, _IGMP, _TCP, _UDP, _UDPLITE = 1, 2, 6, 17, 136
_OWN_IPV6 = (0, 43, 44, 59, 60, 58, _TCP, _UDP, _UDPLITE)


def _socket_family(kernel: KernelCore, address: int) -> int:
    """sock_register(): a number that there is."""
    number = kernel.view("net_proto_family", address).family
    if number >= _AF_MAX:
        return refused(kernel, f"protocol {number} >= NPROTO({_AF_MAX})", errno.ENOBUFS, 2)
    return 0


def _sock_diag(kernel: KernelCore, address: int) -> int:
    number = kernel.view("sock_diag_handler", address).family
    return -errno.EINVAL if number >= _AF_MAX else 0


def _link_kind(kernel: KernelCore, address: int) -> int:
    """rtnl_link_register(): what a kind without a way to delete its links gets."""
    view = kernel.view("rtnl_link_ops", address)
    if view.setup and not view.dellink:
        view.dellink = kernel.symbol("unregister_netdevice_queue")
    return 0


def _overlaps(kernel: KernelCore, address: int) -> int:
    """nf_register_sockopt(): no two of one family may have a number in common."""
    new = kernel.view("nf_sockopt_ops", address)
    for other in (kernel.view("nf_sockopt_ops", known) for known, _ in kernel[Registrations].of(_SOCKOPT)):
        if other.pf != new.pf:
            continue
        for low, high in (("set_optmin", "set_optmax"), ("get_optmin", "get_optmax")):
            if other.get(low) < new.get(high) and new.get(low) < other.get(high):
                return -errno.EBUSY
    return 0


_SOCKOPT = "range of socket options"

declare(
    __name__,
    Family(
        _SOCKETS, "int sock_register(const struct net_proto_family *ops)", "", "net_proto_family.family",
        own=_OWN_FAMILIES, check=_socket_family, called=_FAMILIES,
        says=(_COMES, "<6>NET: Unregistered {} protocol family"), taken_says=_COMES,
    ),
    Family(
        "transport protocol", "int proto_register(struct proto *prot, int alloc_slab)",
        "void proto_unregister(struct proto *prot)", taken=0,
    ),
    Family(
        "receiver of packets", "void dev_add_pack(struct packet_type *pt)",
        "void dev_remove_pack(struct packet_type *pt)", taken=0,
    ),
    Family(
        "offload of packets", "void dev_add_offload(struct packet_offload *po)",
        "void dev_remove_offload(struct packet_offload *po)", taken=0,
    ),
    Family(
        KIND_OF_LINKS, "int rtnl_link_register(struct rtnl_link_ops *ops)",
        "void rtnl_link_unregister(struct rtnl_link_ops *ops)", "rtnl_link_ops.kind", check=_link_kind,
    ),
    Family(
        "family of link addresses", "void rtnl_af_register(struct rtnl_af_ops *ops)",
        "void rtnl_af_unregister(struct rtnl_af_ops *ops)", taken=0,
    ),
    Family(
        "reader of sockets", "int sock_diag_register(const struct sock_diag_handler *hndl)",
        "void sock_diag_unregister(const struct sock_diag_handler *hndl)", "sock_diag_handler.family",
        taken=errno.EBUSY, check=_sock_diag,
    ),
    Family(
        "compatible reader of sockets",
        "void sock_diag_register_inet_compat(const struct sock_diag_inet_compat *ptr)",
        "void sock_diag_unregister_inet_compat(const struct sock_diag_inet_compat *ptr)", taken=0,
    ),
    Family(
        _SOCKOPT, "int nf_register_sockopt(struct nf_sockopt_ops *reg)",
        "void nf_unregister_sockopt(struct nf_sockopt_ops *reg)", taken=0, check=_overlaps,
    ),
    Family(
        "type of sockets", "void inet_register_protosw(struct inet_protosw *p)",
        "void inet_unregister_protosw(struct inet_protosw *p)", taken=0,
    ),
    Family(
        "type of IPv6 sockets", "int inet6_register_protosw(struct inet_protosw *p)",
        "void inet6_unregister_protosw(struct inet_protosw *p)", taken=0,
    ),
    Family(
        "handler of ESP and the like",
        "int xfrm_register_type(const struct xfrm_type *type, unsigned short family)",
        "void xfrm_unregister_type(const struct xfrm_type *type, unsigned short family)",
    ),
    Family(
        "offload of ESP and the like",
        "int xfrm_register_type_offload(const struct xfrm_type_offload *type, unsigned short family)",
        "void xfrm_unregister_type_offload(const struct xfrm_type_offload *type, unsigned short family)",
    ),
    Family(
        "notifier of next hops",
        "int register_nexthop_notifier(struct net *net, struct notifier_block *nb,"
        " struct netlink_ext_ack *extack)",
        "int unregister_nexthop_notifier(struct net *net, struct notifier_block *nb)", at=1,
    ),
    Family(
        "input of IPsec", "int xfrm_input_register_afinfo(const struct xfrm_input_afinfo *afinfo)",
        "int xfrm_input_unregister_afinfo(const struct xfrm_input_afinfo *afinfo)", taken=0,
    ),
    Family(
        "key manager of IPsec", "void xfrm_register_km(struct xfrm_mgr *km)",
        "void xfrm_unregister_km(struct xfrm_mgr *km)", taken=0,
    ),
    Family(
        "set of functions for BPF",
        "int register_btf_kfunc_id_set(enum bpf_prog_type prog_type, const struct btf_kfunc_id_set *kset)",
        at=1, taken=0,
    ),
    Family(
        "operations of a PHY", "void ethtool_set_ethtool_phy_ops(const struct ethtool_phy_ops *ops)", taken=0,
    ),
)  # fmt: skip


@export("void sock_unregister(int family)", Fidelity.REGISTRATION)
def sock_unregister(kernel: KernelCore, family: int) -> None:
    """By its number (net/socket.c)."""
    if address := kernel[Registrations].find(_SOCKETS, family):
        kernel[Registrations].remove(families()[_SOCKETS], address)


def _declare_numbers(kind: str, join: str, leave: str, struct: str, own: tuple[int, ...] = ()) -> None:
    """Handlers of IP's protocols: an array, in which each number has one."""

    @export(f"int {join}({struct} *prot, unsigned char protocol)", Fidelity.REGISTRATION)
    def add(kernel: KernelCore, prot: int, protocol: int) -> int:
        """-1 where there is one (net/ipv4/protocol.c)."""
        return kernel[Registrations].put(kind, prot, protocol, own, 1)

    @export(f"int {leave}({struct} *prot, unsigned char protocol)", Fidelity.REGISTRATION)
    def delete(kernel: KernelCore, prot: int, protocol: int) -> int:
        """-1 where there is another."""
        return kernel[Registrations].remove(Family(kind, "", absent=1), prot)


for _version, _struct, _taken in (
    ("inet", "net_protocol", (_ICMP, _IGMP, _TCP, _UDP, _UDPLITE)),
    ("inet6", "inet6_protocol", _OWN_IPV6),
):
    _join, _leave = (f"{_version}_{verb}_protocol" for verb in ("add", "del"))
    _declare_numbers(f"protocol of {_version}", _join, _leave, f"const struct {_struct}", _taken)
    _join, _leave = (f"{_version}_{verb}_offload" for verb in ("add", "del"))
    _declare_numbers(f"offload of {_version}", _join, _leave, "const struct net_offload")
for _version in ("xfrm4", "xfrm6"):
    _join, _leave = (f"{_version}_protocol_{verb}" for verb in ("register", "deregister"))
    _declare_numbers(f"protocol of {_version}", _join, _leave, f"struct {_version}_protocol")
# Those that Debian's kernel has itself: IP, IPv6, SEG6, BPF, SEG6_LOCAL, RPL and IOAM6.
_declare_numbers(
    "light tunnel", "lwtunnel_encap_add_ops", "lwtunnel_encap_del_ops", "const struct lwtunnel_encap_ops",
    (2, 4, 5, 6, 7, 8, 9),
)  # fmt: skip
