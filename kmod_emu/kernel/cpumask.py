"""Masks of processors that are allocated (lib/cpumask.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_SIZE = 8  # cpumask_size() of up to 64 processors


@export("bool alloc_cpumask_var_node(cpumask_var_t *mask, gfp_t flags, int node)")
def alloc_cpumask_var_node(kernel: KernelCore, mask: int, flags: int, node: int) -> bool:
    """Room for a mask (lib/cpumask.c)."""
    address = kernel.heap.kmalloc(_SIZE)
    kernel.memory.write_u64(mask, address)
    return bool(address)


@export("void free_cpumask_var(cpumask_var_t mask)")
def free_cpumask_var(kernel: KernelCore, mask: int) -> None:
    """It is given back (lib/cpumask.c)."""
    kernel.heap.kfree(mask)
