"""Hooks into the way of packets, loggers and queues of packets (net/netfilter/core.c, nf_log.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LOGGER, _IN_USE = "logger of packets", "logger of a family"
_ONE = "(struct net *net, const struct nf_hook_ops *reg)"
_MANY = "(struct net *net, const struct nf_hook_ops *reg, unsigned int n)"
declare(
    __name__,
    Family(
        "netfilter hook", f"int nf_register_net_hook{_ONE}", f"void nf_unregister_net_hook{_ONE}",
        taken=0, at=1, stride="nf_hook_ops",
        many=(f"int nf_register_net_hooks{_MANY}", f"void nf_unregister_net_hooks{_MANY}"),
    ),
)  # fmt: skip


@export("int nf_log_register(u_int8_t pf, struct nf_logger *logger)", Fidelity.REGISTRATION)
def nf_log_register(kernel: KernelCore, pf: int, logger: int) -> int:
    """One for each protocol family and type."""
    key = f"{pf} {kernel.view('nf_logger', logger).get('type')}"
    return kernel[Registrations].put(f"{_LOGGER} {pf}", logger, key, (), errno.EEXIST)


@export("void nf_log_unregister(struct nf_logger *logger)", Fidelity.REGISTRATION)
def nf_log_unregister(kernel: KernelCore, logger: int) -> None:
    """From all families."""
    for pf in range(_FAMILIES):
        kernel[Registrations].remove(Family(f"{_LOGGER} {pf}", ""), logger)


_FAMILIES = 13  # NFPROTO_NUMPROTO

declare(
    __name__,
    Family(
        "queue of packets", "void nf_register_queue_handler(const struct nf_queue_handler *qh)", "", taken=0,
    ),
)  # fmt: skip


@export("void nf_unregister_queue_handler(void)", Fidelity.REGISTRATION)
def nf_unregister_queue_handler(kernel: KernelCore) -> None:
    """There is one at most."""
    known = kernel[Registrations]
    for address, _ in list(known.of("queue of packets")):
        known.remove(Family("queue of packets", ""), address)


@export("int nf_log_set(struct net *net, u_int8_t pf, const struct nf_logger *logger)", Fidelity.REGISTRATION)
def nf_log_set(kernel: KernelCore, net: int, pf: int, logger: int) -> int:
    """The logger of a family, if it has none."""
    if not 0 < pf < _FAMILIES:
        return -errno.EOPNOTSUPP
    known = kernel[Registrations]
    if not known.find(_IN_USE, pf):
        known.put(_IN_USE, logger, pf, (), 0)
    return 0


@export("void nf_log_unset(struct net *net, const struct nf_logger *logger)", Fidelity.REGISTRATION)
def nf_log_unset(kernel: KernelCore, net: int, logger: int) -> None:
    """It is no family's logger any more."""
    kernel[Registrations].remove(Family(_IN_USE, ""), logger)
