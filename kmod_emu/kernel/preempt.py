"""The preempt count: what the processor is doing, as inlined code keeps it (include/linux/preempt.h).

On x86 bit 31 says, inverted, that the scheduler is wanted; the rest counts, part by part, why the processor
may not be taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.percpu import PREEMPT_ENABLED

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

SOFTIRQ_OFFSET = 0x100
SOFTIRQ_DISABLE_OFFSET = 2 * SOFTIRQ_OFFSET
HARDIRQ_OFFSET = 0x1_0000
_SOFTIRQ_MASK, _HARDIRQ_MASK, _NMI_MASK = 0xFF00, 0xF_0000, 0xF0_0000
_COUNT_MASK = 0x7FFF_FFFF
EFLAGS_IF = 1 << 9


def preempt_count(kernel: KernelCore) -> int:
    """The count without the inverted bit; 0 is ordinary process context."""
    return kernel.percpu.read("__preempt_count", 4) & _COUNT_MASK


def preempt_count_add(kernel: KernelCore, change: int) -> None:
    """Count up or down."""
    kernel.percpu.write("__preempt_count", kernel.percpu.read("__preempt_count", 4) + change & 0xFFFF_FFFF, 4)


def preempt_count_reset(kernel: KernelCore) -> None:
    """Back to ordinary process context."""
    kernel.percpu.write("__preempt_count", PREEMPT_ENABLED, 4)


def in_interrupt(kernel: KernelCore) -> bool:
    """Whether an interrupt or a softirq is served, or softirqs are off."""
    return bool(preempt_count(kernel) & (_SOFTIRQ_MASK | _HARDIRQ_MASK | _NMI_MASK))


def in_hardirq(kernel: KernelCore) -> bool:
    """Whether an interrupt is served."""
    return bool(preempt_count(kernel) & _HARDIRQ_MASK)


def in_serving_softirq(kernel: KernelCore) -> bool:
    """Whether a softirq is served."""
    return bool(preempt_count(kernel) & SOFTIRQ_OFFSET)


def softirqs_off(kernel: KernelCore, added: int = 0) -> bool:
    """Whether no softirq can come, with so much added to the count."""
    return bool(preempt_count(kernel) + added & (_SOFTIRQ_MASK | _HARDIRQ_MASK | _NMI_MASK))
