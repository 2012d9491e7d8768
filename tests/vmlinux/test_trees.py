"""Names read where the kernel keeps them are those that its system calls tell."""

import pytest

from kmod_emu.sweep.added_real import Shows
from kmod_emu.vmlinux.recall import Reader
from kmod_emu.vmlinux.trees import Kernfs, dentries, proc_entries, root_of, sysctls


def listed(machine, path: str) -> set[str]:
    with machine.process(comm="ls") as process:
        return set(process.listdir(path))


def test_directories_of_sysfs(real):
    sys = Kernfs(Reader(real))
    for path in ("", "class", "class/misc", "bus/platform/drivers", "fs"):
        assert set(sys.find(path)) == listed(real, f"/sys/{path}")
    assert sys.find("bus/none/drivers") == {}


def test_a_directory_that_changed_is_read_again(real, distribution_module):
    sys = Kernfs(Reader(real))
    before = set(sys.find("module"))
    sys.settle()
    real.insmod(distribution_module("crypto/md4"))
    assert set(sys.find("module")) - before == {"md4"}
    real.rmmod("md4")
    assert set(sys.find("module")) == before


def test_directories_of_debugfs_and_proc(real):
    assert {name for name, _ in dentries(Reader(real), root_of(real, "debugfs"))} == listed(
        real, "/sys/kernel/debug"
    )
    assert root_of(real, "none") == 0
    drivers = proc_entries(look, real.symbol("proc_root"))["driver"]
    assert set(proc_entries(look, drivers)) == listed(real, "/proc/driver")


def test_sysctls(real):
    paths = set(sysctls(Reader(real), real.symbol("sysctl_table_root")))
    kernel = {path.removeprefix("/kernel/") for path in paths if path.count("/") == 2 and "/kernel/" in path}
    assert kernel == listed(real, "/proc/sys/kernel")


@pytest.mark.parametrize(
    ("path", "added"),
    [
        ("drivers/cdrom/cdrom", {"sysctl": {"/proc/sys/dev/cdrom"}}),
        (
            "fs/orangefs/orangefs",
            {
                "debugfs": {"orangefs"},
                "filesystems": {"pvfs2 (nodev)"},
                "sysfs": {"/sys/fs/orangefs"},
                "proc_devices": {"char 246 pvfs2-req"},
            },
        ),
        (
            "arch/x86/kernel/msr",
            {
                "sys_class": {"msr", "msr/msr0"},
                "dev": {"/dev/cpu/", "/dev/cpu/0/", "/dev/cpu/0/msr c 202:0 600"},
                "proc_devices": {"char 202 cpu/msr"},
            },
        ),
    ],
)
def test_what_a_module_adds_is_gone_with_it(real, distribution_module, path, added):
    """As recorded from the real kernel."""
    shows = Shows(real)
    before = shows()
    module = real.insmod(distribution_module(path))
    assert {kind: things - before[kind] for kind, things in shows().items() if things - before[kind]} == added
    real.rmmod(module.name)
    assert shows() == before


def test_parameters_of_modules(real, distribution_module):
    shows = Shows(real)
    real.insmod(distribution_module("drivers/misc/hpilo"))
    assert shows.parameters("hpilo") == {"max_ccb": b"16\n"}
    assert shows.parameters("none") == {}
