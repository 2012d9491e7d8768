"""Registrations that stand alone in their part of the kernel (drivers/cpufreq/, fs/nfs_common/, mm/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations, declare, families, required
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.standin import declare_answers
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

declare(
    __name__,
    Family(
        "I/O scheduler", "int elv_register(struct elevator_type *e)",
        "void elv_unregister(struct elevator_type *e)", "elevator_type.elevator_name",
        taken=errno.EBUSY, own=("mq-deadline",), says=("<6>io scheduler {} registered", ""),
    ),
    Family(
        "pool of compressed pages", "void zpool_register_driver(struct zpool_driver *driver)",
        "int zpool_unregister_driver(struct zpool_driver *driver)", taken=0,
    ),
    Family(
        "policy of block groups", "int blkcg_policy_register(struct blkcg_policy *pol)",
        "void blkcg_policy_unregister(struct blkcg_policy *pol)", taken=0,
    ),
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
        "governor of devices' speed", "int devfreq_add_governor(struct devfreq_governor *governor)",
        "int devfreq_remove_governor(struct devfreq_governor *governor)", "devfreq_governor.name",
        taken=errno.EINVAL, absent=errno.ENODEV,
        taken_says="<3>devfreq_add_governor: governor {} already registered",
    ),
    Family(
        "table of routes of a link's kind",
        "int l3mdev_table_lookup_register(enum l3mdev_type l3type, lookup_by_table_id_t fn)",
        "void l3mdev_table_lookup_unregister(enum l3mdev_type l3type, lookup_by_table_id_t fn)",
        at=1, taken=errno.EBUSY,
    ),
    Family(
        "handler of non-maskable interrupts",
        "int __register_nmi_handler(unsigned int type, struct nmiaction *action)", at=1, taken=0,
        check=required("nmiaction", "handler"),
    ),
    Family(
        "set of block requests",
        "int bioset_init(struct bio_set *bs, unsigned int pool_size, unsigned int front_pad, int flags)",
        "void bioset_exit(struct bio_set *bs)", taken=0,
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
        "void vlan_ioctl_set(int (*hook)(struct net *net, void *arg))": 0,
        "void xfrm_if_register_cb(const struct xfrm_if_cb *ifcb)": 0,
        "void xfrm_if_unregister_cb(void)": 0,
        "void brioctl_set(int (*hook)(struct net *net, unsigned int cmd, void *arg))": 0,
    },
    Fidelity.REGISTRATION,
)


@export("int fb_get_options(const char *name, char **option)")
def fb_get_options(kernel: KernelCore, name: int, option: int) -> int:
    """What the command line has for a frame buffer driver: nothing (drivers/video/fbdev/)."""
    if option:
        kernel.memory.write_u64(option, 0)
    return 0


@export("void unregister_nmi_handler(unsigned int type, const char *name)", Fidelity.REGISTRATION)
def unregister_nmi_handler(kernel: KernelCore, type: int, name: str) -> None:
    """The one of that name (arch/x86/kernel/nmi.c)."""
    family = families()["handler of non-maskable interrupts"]
    for action, _ in list(kernel[Registrations].of(family.kind)):
        if kernel.memory.read_text(kernel.view("nmiaction", action).get("name")) == name:
            kernel[Registrations].remove(family, action)
