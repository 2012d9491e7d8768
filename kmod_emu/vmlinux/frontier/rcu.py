"""RCU: grace periods are events in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_GRACE = "a grace period is an event in the agenda; there is no tick that would see quiescent states"

frontier.shared(_GRACE, "call_rcu call_rcu_hurry kvfree_call_rcu")
frontier.nothing(_GRACE, "rcu_spawn_gp_kthread rcu_note_context_switch rcu_init_tasks_generic")


def _define_waits() -> None:
    for name in (
        "synchronize_rcu",
        "synchronize_rcu_expedited",
        "synchronize_rcu_tasks",
        "synchronize_rcu_tasks_rude",
        "synchronize_rcu_tasks_trace",
        "rcu_barrier",
        "rcu_barrier_tasks",
        "rcu_barrier_tasks_rude",
        "rcu_barrier_tasks_trace",
    ):

        @frontier.replace(f"void {name}(void)", _GRACE)
        async def wait(kernel: KernelCore) -> None:
            """Wait for a grace period; callbacks that were asked for before have run then (kernel/rcu/)."""
            if kernel.memory.read_u32(kernel.symbol("rcu_scheduler_active")):  # else nobody else is there
                await kernel.rcu.synchronize()


_define_waits()
