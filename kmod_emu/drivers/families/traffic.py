"""Packet schedulers, classifiers, actions and congestion control (net/sched/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare, refused, required
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.net.pernet import Pernet
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore


def _congestion(kernel: KernelCore, address: int) -> int:
    """tcp_register_congestion_control(): what every algorithm must have."""
    view = kernel.view("tcp_congestion_ops", address)
    if view.ssthresh and view.undo_cwnd and (view.cong_avoid or view.cong_control):
        return 0
    text = f"TCP: {view.text('name')} does not implement required ops"
    return refused(kernel, text, errno.EINVAL)


_ACTION = Family("action of a classifier", "", unique="tc_action_ops.kind", absent=errno.ENOENT)

declare(
    __name__,
    Family(
        "packet scheduler", "int register_qdisc(struct Qdisc_ops *qops)",
        "int unregister_qdisc(struct Qdisc_ops *qops)", "Qdisc_ops.id",
        absent=errno.ENOENT, own=("noqueue", "pfifo_fast", "pfifo", "bfifo", "pfifo_head_drop", "mq"),
    ),
    Family(
        "packet classifier", "int register_tcf_proto_ops(struct tcf_proto_ops *ops)",
        "void unregister_tcf_proto_ops(struct tcf_proto_ops *ops)", "tcf_proto_ops.kind", absent=errno.ENOENT,
    ),
    Family(
        "match of a classifier", "int tcf_em_register(struct tcf_ematch_ops *ops)",
        "void tcf_em_unregister(struct tcf_ematch_ops *ops)", "tcf_ematch_ops.kind", absent=errno.ENOENT,
    ),
    Family(
        "congestion control", "int tcp_register_congestion_control(struct tcp_congestion_ops *ca)",
        "void tcp_unregister_congestion_control(struct tcp_congestion_ops *ca)", "tcp_congestion_ops.name",
        own=("reno", "cubic"), check=_congestion,
        taken_says="<5>TCP: {} already registered or non-unique key",
    ),
    Family(
        "upper layer of TCP", "int tcp_register_ulp(struct tcp_ulp_ops *ulp)",
        "void tcp_unregister_ulp(struct tcp_ulp_ops *ulp)", "tcp_ulp_ops.name", own=("espintcp",),
    ),
    Family(
        "search in texts", "int textsearch_register(struct ts_ops *ops)",
        "int textsearch_unregister(struct ts_ops *ops)", "ts_ops.name", absent=errno.ENOENT,
        check=required("ts_ops", "name"),
    ),
)  # fmt: skip


@export(
    "int tcf_register_action(struct tc_action_ops *act, struct pernet_operations *ops)", Fidelity.REGISTRATION
)
async def tcf_register_action(kernel: KernelCore, act: StructView, ops: StructView) -> int:
    """An action of classifiers: in the network namespace first, then by its name (net/sched/act_api.c)."""
    if not (act.act and act.dump and act.init):
        return -errno.EINVAL
    if error := await kernel[Pernet].register(ops):
        return error
    if error := kernel[Registrations].add(_ACTION, act.address):
        await kernel[Pernet].unregister(ops)
    return error


@export(
    "int tcf_unregister_action(struct tc_action_ops *act, struct pernet_operations *ops)",
    Fidelity.REGISTRATION,
)
async def tcf_unregister_action(kernel: KernelCore, act: int, ops: StructView) -> int:
    """It goes (net/sched/act_api.c)."""
    error = kernel[Registrations].remove(_ACTION, act)
    if not error:
        await kernel[Pernet].unregister(ops)
    return error
