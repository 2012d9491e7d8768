"""Pages are used up: the kernel's own choice of a program that has to end (mm/oom_kill.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.signal import fatal_signal_pending
from kmod_emu.vmlinux.hardware.ask import borrowed

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_FS, _DIRECT_RECLAIM, _RETRY_MAYFAIL, _NORETRY = 0x80, 0x400, 0x4000, 0x1_0000
_COSTLY_ORDER = 3
_ROUNDS = 50
_TICK_NS = 4_000_000


async def make_room(kernel: VmlinuxKernel, gfp: int, order: int) -> int:
    """End programs until there are pages; their address or 0 (mm/page_alloc.c: __alloc_pages_may_oom)."""
    wants = gfp & _DIRECT_RECLAIM and gfp & _FS and not gfp & (_NORETRY | _RETRY_MAYFAIL)
    if not wants or order > _COSTLY_ORDER or not kernel.user_mode.threads:
        return 0
    for _ in range(_ROUNDS):
        if fatal_signal_pending(kernel, kernel.sched.current):
            return 0
        kernel.usage.emergency = True
        try:
            with borrowed(kernel, "oom_control") as control:
                control.gfp_mask, control.order = gfp, order
                lock = kernel.symbol("oom_lock")
                await kernel.call_guest(kernel.symbol("mutex_lock"), lock)
                await kernel.call_guest(kernel.symbol("out_of_memory"), control.address)
                await kernel.call_guest(kernel.symbol("mutex_unlock"), lock)
        finally:
            kernel.usage.emergency = False
        await kernel.sched.sleep(_TICK_NS)
        address = kernel.pages.allocate(order)
        if address:
            return address
    return 0
