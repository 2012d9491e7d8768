"""Who wants to know that a program's netlink socket is closed (net/netlink/af_netlink.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.notifier_chain import call_chain, join_chain, leave_chain

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_URELEASE = 1
_NOTIFY = struct.Struct("<QIi")  # struct netlink_notify: namespace, port id, protocol


@export_data("void *netlink_chain")
def netlink_chain(kernel: KernelCore, address: int) -> None:
    """An empty chain."""


async def urelease(kernel: KernelCore, protocol: int, portid: int) -> None:
    """A socket with an address is closed."""
    chain = kernel.symbols.address("netlink_chain")
    if not kernel.memory.read_u64(chain):
        return
    notify = kernel.heap.kmalloc(_NOTIFY.size)
    kernel.memory.write(notify, _NOTIFY.pack(kernel.symbols.address("init_net"), portid, protocol))
    await call_chain(kernel, chain, _URELEASE, notify)
    kernel.heap.kfree(notify)


@export("int netlink_register_notifier(struct notifier_block *nb)")
def netlink_register_notifier(kernel: KernelCore, nb: int) -> int:
    """Be told of programs' sockets that are closed."""
    return join_chain(kernel, "blocking", kernel.symbols.address("netlink_chain"), nb)


@export("int netlink_unregister_notifier(struct notifier_block *nb)")
def netlink_unregister_notifier(kernel: KernelCore, nb: int) -> int:
    """No longer."""
    return leave_chain(kernel, kernel.symbols.address("netlink_chain"), nb)
