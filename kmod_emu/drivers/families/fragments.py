"""Queues for fragments of packets (net/ipv4/inet_fragment.c): made and freed; no packet comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, declare
from kmod_emu.kernel.exports import Fidelity, export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

declare(
    __name__,
    Family(
        "kind of fragment queues", "int inet_frags_init(struct inet_frags *f)",
        "void inet_frags_fini(struct inet_frags *f)", taken=0,
    ),
)  # fmt: skip


@export("int fqdir_init(struct fqdir **fqdirp, struct inet_frags *f, struct net *net)", Fidelity.REGISTRATION)
def fqdir_init(kernel: KernelCore, fqdirp: int, f: int, net: int) -> int:
    """A namespace's queues."""
    fqdir = kernel.view("fqdir", kernel.heap.kmalloc(kernel.profile.struct("fqdir").size))
    fqdir.f, fqdir.net = f, net
    kernel.memory.write_u64(fqdirp, fqdir.address)
    return 0


@export("void fqdir_exit(struct fqdir *fqdir)", Fidelity.REGISTRATION)
def fqdir_exit(kernel: KernelCore, fqdir: int) -> None:
    """They go."""
    kernel.heap.kfree(fqdir)
