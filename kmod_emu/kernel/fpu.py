"""Floating point in kernel code (arch/x86/kernel/fpu/core.c).

Registers of a task are saved whole when another runs, those of a program when it enters the kernel: what is
left to do is to say that the processor may not be taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.preempt import preempt_count_add

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("void kernel_fpu_begin_mask(unsigned int kfpu_mask)", Fidelity.APPROXIMATE)
def kernel_fpu_begin_mask(kernel: KernelCore, kfpu_mask: int) -> None:
    """From here on vector and floating-point registers may be used; their control words are as they were."""
    preempt_count_add(kernel, 1)


@export("void kernel_fpu_end(void)")
def kernel_fpu_end(kernel: KernelCore) -> None:
    """No longer."""
    preempt_count_add(kernel, -1)


@export("bool irq_fpu_usable(void)")
def irq_fpu_usable(kernel: KernelCore) -> int:
    """Whether kernel_fpu_begin() may be called here."""
    return 1
