"""Modules of the distribution that the recordings lack: what Debian's kernel says, shows and takes back.

What is expected was seen on the real kernel's own code (`sweep --kernel`).
"""

import errno

import pytest

from kmod_emu import Kernel
from kmod_emu.sweep.one import Machine
from kmod_emu.sweep.tree import choose, read_tree
from tests.module.replay import DUMMY

TOP = DUMMY.parents[3]
LOADED = {
    "binder_linux": ([], {"dev": ["/dev/binder c 10:124 600"], "debugfs": ["binder"]}),
    "f2fs": ([], {"filesystems": ["f2fs"], "sysfs": ["/sys/fs/f2fs"], "debugfs": ["f2fs"]}),
    "netconsole": (["printk: console [netcon0] enabled", "netconsole: network logging started"], {}),
    "huawei_wmi": ([], {"bus_devices": ["platform/huawei-wmi"], "bus_drivers": ["platform/huawei-wmi"]}),
    "battery": ([], {"bus_drivers": ["acpi/battery"]}),
    "megaraid_sas": (["megasas: 07.719.03.00-rc1"], {"proc_devices": ["char 246 megaraid_sas_ioctl"]}),
    "ocfs2_nodemanager": ([], {"sysfs": ["/sys/fs/o2cb"], "debugfs": ["o2hb", "o2net"]}),
    "governor_simpleondemand": ([], {}),
    "pktgen": ([], {"proc": ["/proc/net/pktgen"], "kthreads": ["kpktgend_0"]}),
    "nf_log_syslog": ([], {}),
    "mpls_iptunnel": ([], {}),
    "fixed_phy": ([], {}),
    "rds": (["NET: Registered PF_RDS protocol family"], {"kthreads": ["krdsd"]}),
    "libchacha20poly1305": ([], {}),
    "dummy": ([], {"sys_class": ["net/dummy0"]}),
    "ip6_vti": ([], {"sys_class": ["net/ip6_vti0"]}),
    "bonding": ([], {"sys_class": ["net/bond0", "net/bonding_masters"]}),
    "mdev": ([], {"sys_class": ["mdev_bus"], "sys_bus": ["mdev"]}),
    "spi_nor": ([], {"bus_drivers": ["spi/spi-nor"]}),
    "isofs": ([], {"filesystems": ["iso9660"]}),
    "jsm": ([], {"proc_devices": ["char 246 ttyn"], "bus_drivers": ["pci/jsm"]}),
    "snd_dummy": ([], {"bus_devices": ["platform/snd_dummy.0"]}),
}
REFUSED = {
    "ptp_kvm": errno.EOPNOTSUPP,
    "asus_ec_sensors": errno.ENODEV,
    "efivarfs": errno.ENODEV,
    "rxrpc": errno.ENOENT,
    "efibc": errno.ENODEV,
}


@pytest.fixture(scope="module")
def sweep():
    if not (TOP / "modules.dep").exists():
        pytest.skip(f"{TOP} is not installed")
    machine = Machine(Kernel(), "stub", {})
    targets = {target.name: target for target in choose(read_tree(str(TOP)), [*LOADED, *REFUSED])}
    return lambda name: machine.sweep(targets[name])


@pytest.mark.parametrize("name", LOADED)
def test_it_does_what_the_real_kernel_does(sweep, name):
    dmesg, added = LOADED[name]
    row = sweep(name)
    stays = -errno.EBUSY if name == "binder_linux" else 0
    assert (row["outcome"], row["rmmod_rc"], row["left"], row["reports"]) == ("loaded", stays, {}, [])
    said = [line.partition(">")[2] for line in row["init_dmesg"]]
    assert [line for line in dmesg if line not in said] == []
    assert {kind: row["added"].get(kind) for kind in added} == added


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_as_by_the_real_kernel(sweep, name):
    row = sweep(name)
    assert (row["outcome"], row["rc"], row["reports"]) == ("refused", -REFUSED[name], [])
