"""Exceptions of the kernel's own code, which its own handlers handle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import ptregs

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


async def handled_by(kernel: KernelCore, handler: int, rip: int, *arguments: int) -> int:
    """Call a handler with the registers as they are at `rip`; where the code goes on, with those it left."""
    regs = kernel.view("pt_regs", kernel.sched.current.activations[-1].rsp)
    ptregs.fill(kernel, regs, rip)
    await kernel.call_guest(handler, regs.address, *arguments)
    ptregs.apply(kernel, regs)
    return int(regs.ip)
