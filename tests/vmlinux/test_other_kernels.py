"""Kernels besides 6.1: the one that `make test` unpacks into build/kernels, and what is installed."""

import glob
import os
from pathlib import Path

import pytest

from kmod_emu import KernelError
from kmod_emu.kmod.files import read_module
from kmod_emu.sweep.conform.seen import Conformity
from tests.module.replay import BUSYBOX
from tests.vmlinux import test_trees

UNPACKED = Path(__file__).resolve().parents[2] / "build/kernels"
OWN = Path(__file__).resolve().parents[1] / "modules/6.12.107+deb13-amd64"
IMAGES = [
    path
    for path in [*glob.glob(f"{UNPACKED}/boot/vmlinuz-*-amd64"), *glob.glob("/boot/vmlinuz-*-amd64")]
    if "-6.1." not in path and os.access(path, os.R_OK)
]


@pytest.fixture(
    scope="module",
    params=IMAGES or [pytest.param("", marks=pytest.mark.skip("only 6.1 is there"))],
    ids=os.path.basename,
)
def both(request):
    """A machine for each loader, and a directory of modules."""
    image = Path(request.param)
    release = image.name.removeprefix("vmlinuz-")
    return Conformity(image), image.parents[1] / "lib/modules" / release / "kernel"


@pytest.fixture
def other(both):
    machine = both[0].machines[0]
    machine.kernel.restore(machine._booted)
    return machine.kernel


def test_another_kernel_boots(other):
    assert other.boot.finished
    assert len(other.boot.initcalls) > 500
    assert not other.findings.reports
    assert other.cat("/proc/version").startswith(b"Linux version %s " % other.profile.release.encode())


@pytest.mark.parametrize(
    "name", ["drivers/net/dummy", "drivers/block/loop", "fs/fat/fat", "drivers/block/nbd"]
)
def test_its_modules_are_loaded_alike_by_both_loaders(both, name):
    """Packed by xz or not; on 5.10 to 7.2 tables, sections and the room in code differ."""
    machines, folder = both
    [file] = glob.glob(f"{folder}/{name}.ko*")
    ours, differences = machines.load(file)
    assert differences == []
    assert (ours.rc, ours.unload) == (0, 0)


def test_a_module_of_another_kernel_is_refused_in_its_words(other):
    other.printk.clear()
    with pytest.raises(KernelError) as refused:
        other.insmod(OWN / "hello.ko")
    assert refused.value.errno == 8
    assert other.dmesg() == ["hello: disagrees about version of symbol module_layout"]


def test_its_lists_are_those_of_proc(other):
    test_trees.test_lists_are_those_of_proc(other)


@pytest.mark.skipif(not os.access("/bin/busybox", os.X_OK), reason="busybox-static is not installed")
def test_programs_run_on_it(other, both):
    """The room above the registers, flags on the way back and timers are not the same on all of them."""
    userland = other.userland
    userland.install_busybox("/bin/busybox")
    [dummy] = glob.glob(f"{both[1]}/drivers/net/dummy.ko*")
    userland.put_file("/dummy.ko", read_module(dummy).image)
    script = "insmod /dummy.ko; cat /sys/class/net/dummy0/mtu; sleep 1; echo a | cat; uname -r; kill -9 $$"
    result = userland.execute("/bin/sh", ["sh", "-c", script])
    assert (result.stdout, result.stderr) == (f"1500\na\n{other.profile.release}\n".encode(), b"")
    assert result.status == 137
    assert not other.findings.reports


@pytest.mark.skipif(not BUSYBOX.exists(), reason="Debian's package busybox-static is absent")
def test_a_program_ends_before_its_timer(other):
    """Exit cancels it, on some kernels by what the compiler has split off hrtimer_try_to_cancel()."""
    result = other.exec("/bin/sh", ["-c", "ip link set lo up; ping -c 1 127.0.0.1"], busybox=BUSYBOX)
    assert result.status == 0
    assert other.findings.reports == []
