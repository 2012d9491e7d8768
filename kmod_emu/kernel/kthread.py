"""Kernel threads (kernel/kthread.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("bool kthread_should_stop_or_park(void)")
def kthread_should_stop_or_park(kernel: KernelCore) -> bool:
    """Whether the current thread is asked for either."""
    return False
