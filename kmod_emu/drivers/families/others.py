"""Registrations that stand alone in their part of the kernel (drivers/cpufreq/, fs/nfs_common/, mm/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.drivers.registration import Family, declare
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.standin import declare_answers
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

declare(
    __name__,
    Family(
        "frequency governor", "int cpufreq_register_governor(struct cpufreq_governor *governor)",
        "void cpufreq_unregister_governor(struct cpufreq_governor *governor)", "cpufreq_governor.name",
        taken=errno.EBUSY, own=("performance", "schedutil"),
    ),
    Family(
        "decoder of machine checks", "void mce_register_decode_chain(struct notifier_block *nb)",
        "void mce_unregister_decode_chain(struct notifier_block *nb)", taken=0,
    ),
    Family(
        "copy by an NFS server", "void nfs_ssc_register(const struct nfs_ssc_client_ops *ops)",
        "void nfs_ssc_unregister(const struct nfs_ssc_client_ops *ops)", taken=0,
    ),
    Family(
        "copy by an NFS 4.2 server", "void nfs42_ssc_register(const struct nfs4_ssc_client_ops *ops)",
        "void nfs42_ssc_unregister(const struct nfs4_ssc_client_ops *ops)", taken=0,
    ),
)  # fmt: skip

# Of things that nobody has made when these are called.
declare_answers(
    __name__,
    {
        "void tcf_idrinfo_destroy(const struct tc_action_ops *ops, struct tcf_idrinfo *idrinfo)": 0,
        "void clean_acked_data_flush(void)": 0,
        "void unregister_netdevice_many(struct list_head *head)": 0,
        "void vlan_ioctl_set(int (*hook)(struct net *net, void *arg))": 0,
        "void brioctl_set(int (*hook)(struct net *net, unsigned int cmd, void *arg))": 0,
    },
    Fidelity.REGISTRATION,
)


@export(
    "int __list_lru_init(struct list_lru *lru, bool memcg_aware, struct lock_class_key *key,"
    " struct shrinker *shrinker)",
    Fidelity.APPROXIMATE,
)
def __list_lru_init(kernel: KernelCore, lru: int, memcg_aware: int, key: int, shrinker: int) -> int:
    """Lists by age, one for the only node (mm/list_lru.c)."""
    node = kernel.heap.kmalloc(kernel.profile.struct("list_lru_node").size)
    if not node:
        return -errno.ENOMEM
    lists.init(kernel.memory, kernel.view("list_lru_node", node).addressof("lru"))
    kernel.view("list_lru", lru).node = node
    return 0


@export("void list_lru_destroy(struct list_lru *lru)", Fidelity.APPROXIMATE)
def list_lru_destroy(kernel: KernelCore, lru: int) -> None:
    """Their end (mm/list_lru.c)."""
    view = kernel.view("list_lru", lru)
    kernel.heap.kfree(view.node)
    view.node = 0
