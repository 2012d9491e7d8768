"""Booted machines are kept, and the next start takes them from there."""

import os
import time

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.kernel.statefile import StateFile, write
from kmod_emu.vmlinux import cache
from kmod_emu.vmlinux.kernel import VmlinuxKernel


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kmod-emu" / "kernels"


def keep(machine, name):
    """Keep a machine that has booted without being kept."""
    machine._name = name
    machine._settle()


def test_a_kept_machine_is_the_one_that_booted_and_can_be_saved(place, real, vmlinuz):
    with open(vmlinuz, "rb") as file:
        keep(real, cache.key(cache.digest(file.read())))
    again = VmlinuxKernel(vmlinuz)
    assert again.boot.initcalls == real.boot.initcalls
    assert again.dmesg() == real.dmesg()
    assert again.symbol("schedule") == real.symbol("schedule")
    threads = {task.pid: task.comm for task in real.tasks.by_pid.values()}
    assert {pid: task.comm for pid, task in again.tasks.by_pid.items()}.items() <= threads.items()
    again.insmod(samples.path("hello"))
    assert again.dmesg()[-1] == "Hello world!"
    assert [module.name for module in again.modules] == ["hello"]
    saved = place.parent / "machine.kmod"
    again.save(saved)
    loaded = VmlinuxKernel.load(saved)
    assert [module.name for module in loaded.modules] == ["hello"]
    loaded.rmmod("hello")
    assert loaded.dmesg()[-1] == "Cleaning up module."
    assert loaded.cat("/proc/modules") == b""
    assert again.cat("/proc/modules").startswith(b"hello 16384 0 - Live 0xffffffffc")


def test_few_machines_are_kept(place):
    for number in range(6):
        (place / f"{number}").mkdir(parents=True)
    cache.prune()
    assert len(list(place.iterdir())) == cache.KEPT


def test_what_an_end_in_the_middle_left_is_removed_after_a_while(place):
    for name, seconds in (("old", 4000), ("new", 0)):
        (place / f".new-{name}" / "in").mkdir(parents=True)
        then = time.time() - seconds
        os.utime(place / f".new-{name}", (then, then))
    (place / "entry").mkdir()
    cache.prune(keep=1)
    assert sorted(path.name for path in place.iterdir()) == [".new-new", "entry"]


def test_an_entry_that_cannot_be_read_is_none(place):
    (place / "damaged").mkdir(parents=True)
    (place / "damaged" / "tables").write_text("{")
    assert cache.find("damaged") is None
    assert cache.find("absent") is None


def test_an_entry_that_was_cut_off_is_replaced(place, real):
    keep(real, "name")
    assert cache.find("name") is not None
    for file in ("memory", "columns", "symbols"):
        with open(place / "name" / file, "r+b") as cut:
            cut.truncate(4096)
        assert cache.find("name") is None
        keep(real, "name")
        assert cache.find("name") is not None


def test_a_file_that_did_not_change_is_not_read_again(place, tmp_path, monkeypatch):
    file = tmp_path / "vmlinuz"
    file.write_bytes(b"one")
    monkeypatch.setattr(cache, "_SETTLED_NS", 0)
    assert cache.digest_of(str(file)) == cache.digest(b"one")
    monkeypatch.setattr(cache, "digest", lambda image: "read")
    assert cache.digest_of(str(file)) != "read"
    file.write_bytes(b"two")
    assert cache.digest_of(str(file)) == "read"
    (place / ".digests").write_text("{")
    assert cache.digest_of(str(file)) == "read"


def test_the_name_depends_on_the_kernel():
    assert cache.key(cache.digest(b"one")) != cache.key(cache.digest(b"two"))


def test_a_saved_machine_is_loaded_as_what_it_is(place, real, vmlinuz, tmp_path):
    """Kernel.load() put a distribution's kernel's pages into a machine with the stub, and was confused."""
    with open(vmlinuz, "rb") as file:
        keep(real, cache.key(cache.digest(file.read())))
    real.save(tmp_path / "real")
    Kernel().save(tmp_path / "stub")
    ClassicKernel().save(tmp_path / "classic")
    for name, kind in (("real", VmlinuxKernel), ("stub", Kernel), ("classic", ClassicKernel)):
        assert type(Kernel.load(tmp_path / name)) is kind
    for kind, name, said in (
        (VmlinuxKernel, "stub", "holds a modern machine, not a distribution's one"),
        (VmlinuxKernel, "classic", "holds a classic machine, not a distribution's one"),
        (ClassicKernel, "real", "holds a distribution's machine, not a classic one"),
    ):
        with pytest.raises(KernelError) as refusal:
            kind.load(tmp_path / name)
        assert refusal.value.explanation == f"{tmp_path / name} {said}"


def test_a_saved_machine_needs_its_kernel(place, real, vmlinuz, tmp_path):
    """What is wrong is said before anything boots."""
    copy, saved = tmp_path / "vmlinuz", tmp_path / "saved"
    real.save(saved)
    notes, tables = StateFile(saved).notes, StateFile(saved).tables | {"subsystems": {}}
    for changed, said in (
        ({"kernel": ""}, f"nobody knows the file of the kernel of {saved}"),
        ({"kernel": str(copy)}, f"the kernel of {saved} cannot be read: {copy}: No such file or directory"),
        ({"digest": "0"}, f"{vmlinuz} is not the kernel of {saved}; boot again"),
        ({"image": "0"}, f"{saved} was saved by another version of kmod-emu; boot again"),
    ):
        write(saved, notes | changed, tables, b"")
        with pytest.raises(KernelError) as refusal:
            Kernel.load(saved)
        assert refusal.value.explanation == said
