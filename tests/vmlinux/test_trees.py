"""Names read where the kernel keeps them are those that its system calls tell."""

import pytest

from kmod_emu.sweep.added_real import Shows
from kmod_emu.vmlinux.recall import Reader, Recall
from kmod_emu.vmlinux.registered import Registered
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
    look = Reader(real)
    assert {name for name, _ in dentries(look, root_of(real, "debugfs"))} == listed(real, "/sys/kernel/debug")
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
    found = {kind: things - before[kind] for kind, things in shows().items() if things - before[kind]}
    assert found == added | {"sys_module": {module.name}}
    real.rmmod(module.name)
    assert shows() == before


def test_lists_are_those_of_proc(real):
    registered = Registered(Reader(real))
    text = {
        name: real.cat(f"/proc/{name}").decode() for name in ("devices", "filesystems", "crypto", "ioports")
    }
    devices = [line.split() for line in text["devices"].splitlines() if line[:3].strip().isdecimal()]
    assert sorted(row.split()[1:] for row in registered.majors()) == sorted(devices)
    names = [line.split("\t")[::-1] for line in text["filesystems"].splitlines()]
    assert [*registered.filesystems()] == [f"{name} (nodev)" if kind else name for name, kind in names]
    lines = [
        line.split(": ", 1)[1] for line in text["crypto"].splitlines() if line[:6] in ("name  ", "driver")
    ]
    expected = [f"{name} driver={driver}" for name, driver in zip(lines[::2], lines[1::2], strict=True)]
    assert [*registered.algorithms()] == expected
    assert set(registered.ports()) == {line.strip() for line in text["ioports"].splitlines()}


def test_an_answer_holds_until_what_it_was_read_from_is_written(real):
    place, look = real.heap.kmalloc(8192), Reader(real)
    recall, reads = Recall(look), []

    def find():
        reads.append(1)
        return look.read_u64(place + 4092), look.is_set(place), look.text(place + 64)

    def ask(*, kept=True):
        if kept:
            real.snapshot()
        recall.begin()
        return recall("question", find)

    assert ask() == ask() == (0, False, "")
    real.memory.write(place + 72, b"beside it")
    ask()
    assert len(reads) == 1
    real.memory.write_u64(place, 1)
    assert ask() == (0, True, "")
    real.memory.write_u64(place, 2)  # it is still set
    ask()
    assert len(reads) == 2
    real.memory.write_u8(place + 4096, 1)
    real.memory.write(place + 64, b"text")
    assert ask() == (1 << 32, True, "text")
    real.memory.write_u64(place, 0)
    real.memory.write_u8(place + 4096, 0)
    real.memory.write(place + 64, bytes(4))
    assert ask() == (0, False, "")  # as at first: known
    assert len(reads) == 3
    moment = real.snapshot()
    ask(kept=False)
    real.memory.write_u64(place, 3)
    assert ask(kept=False) == ask(kept=False) == (0, True, "")  # between moments: asked each time
    assert len(reads) == 5
    real.memory.write_u64(place, 0)
    assert ask(kept=False) == (0, False, "")
    real.memory.write_u64(place, 4)
    real.restore(moment)
    assert ask(kept=False) == (0, False, "")
    assert len(reads) == 5


def test_parameters_of_modules(real, distribution_module):
    shows = Shows(real)
    real.insmod(distribution_module("drivers/misc/hpilo"))
    assert shows.parameters("hpilo") == {"max_ccb": b"16\n"}
    assert shows.parameters("none") == {}
