"""RCU: grace periods are events in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_GRACE = "a grace period is an event in the agenda; there is no tick that would see quiescent states"

frontier.shared(_GRACE, "call_rcu call_rcu_hurry kvfree_call_rcu")
frontier.answers(_GRACE, "rcu_spawn_gp_kthread")
frontier.nothing(_GRACE, "rcu_note_context_switch rcu_init_tasks_generic")

_ONE, _COMPLETED = 4, 1  # a grace period, in numbers of RCU; that which stands for any


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


@frontier.replace("void sync_rcu_do_polled_gp(struct work_struct *wp)", _GRACE)
async def sync_rcu_do_polled_gp(kernel: VmlinuxKernel, wp: int) -> None:
    """A grace period for those who only look whether one is over, by a number (kernel/rcu/tree_exp.h)."""
    node, state = (kernel.types and kernel.types.layout(name) for name in ("rcu_node", "rcu_state"))
    if node and state:
        wanted = wp - node.offset("exp_poll_wq") + node.offset("exp_seq_poll_rq")
        over = kernel.symbol("rcu_state") + state.offset("gp_seq_polled")
        kernel.memory.write_u64(wanted, _COMPLETED)
        await kernel.rcu.synchronize()
        kernel.memory.write_u64(over, kernel.memory.read_u64(over) + _ONE)
