"""Hooks into the way of packets, loggers and queues of packets (net/netfilter/core.c, nf_log.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_HOOK = Family(
    "netfilter hook", "int nf_register_net_hook(struct net *net, const struct nf_hook_ops *reg)",
    "void nf_unregister_net_hook(struct net *net, const struct nf_hook_ops *reg)", taken=0, at=1,
)  # fmt: skip
_LOGGER = "logger of packets"
declare(__name__, _HOOK)

_MANY = "(struct net *net, const struct nf_hook_ops *reg, unsigned int n)"


@export(f"int nf_register_net_hooks{_MANY}", Fidelity.REGISTRATION)
def nf_register_net_hooks(kernel: KernelCore, net: int, reg: int, n: int) -> int:
    """An array of hooks."""
    step = kernel.profile.struct("nf_hook_ops").size
    for address in range(reg, reg + n * step, step):
        kernel.memory.read_u64(address)  # a count that is a lie ends where memory does
        kernel[Registrations].add(_HOOK, address)
    return 0


@export(f"void nf_unregister_net_hooks{_MANY}", Fidelity.REGISTRATION)
def nf_unregister_net_hooks(kernel: KernelCore, net: int, reg: int, n: int) -> None:
    """They go."""
    step = kernel.profile.struct("nf_hook_ops").size
    for address in range(reg, reg + n * step, step):
        kernel.memory.read_u64(address)
        kernel[Registrations].remove(_HOOK, address)


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
