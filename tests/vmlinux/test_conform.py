"""Our loader and the kernel's own, on equal machines."""

import pytest

from kmod_emu import samples
from kmod_emu.observe import conform
from kmod_emu.vmlinux.kernel import Loader
from kmod_emu.vmlinux.syscalls import system_calls


@pytest.fixture
def both(booted, monkeypatch):
    """One machine in both roles: only who serves three system calls differs."""
    machine, moment = booted

    def seen(path, loader):
        calls = system_calls(machine, own_loader=loader is Loader.KERNEL)
        monkeypatch.setattr(machine, "own_syscalls", calls)
        return conform._load(machine, moment, str(path), ())

    return seen


@pytest.mark.parametrize("name", ["hello", "params", "echo"])
def test_samples_are_loaded_alike(both, name):
    ours, theirs = (both(samples.path(name), loader) for loader in Loader)
    assert list(conform._compare(ours, theirs)) == []
    assert (ours.rc, ours.unload) == (0, 0)


def test_indirect_calls_with_a_prefix_are_patched_alike(both, distribution_module):
    """Calls through R8 and above have six bytes; ours left them as they were."""
    ours, theirs = (both(distribution_module("fs/configfs/configfs"), loader) for loader in Loader)
    assert [line.split()[0] for line in ours.exports][:2] == ["config_group_find_item", "config_group_init"]
    assert list(conform._compare(ours, theirs)) == []


def test_a_module_that_is_refused_is_refused_alike(both, distribution_module):
    ours, theirs = (both(distribution_module("net/netfilter/nft_reject"), loader) for loader in Loader)
    assert ours.rc == theirs.rc == -2
    assert ours.dmesg == theirs.dmesg


@pytest.mark.parametrize(
    ("there", "other", "line"),
    [
        (b" SMP preempt ", b" UP_ preempt ", "hello: version magic '6.1.0-56-amd64 UP_ "),
        (b"\0module_layout\0", b"\0module_lay0ut\0", "hello: no symbol version for module_layout"),
    ],
)
def test_a_module_of_another_kernel_is_refused_alike(both, tmp_path, there, other, line):
    file = tmp_path / "hello.ko"
    file.write_bytes(samples.path("hello").read_bytes().replace(there, other))
    ours, theirs = (both(file, loader) for loader in Loader)
    assert ours.rc == theirs.rc == -8
    assert ours.dmesg == theirs.dmesg
    assert ours.dmesg[0].startswith(line)


def test_a_difference_is_told_by_its_place():
    ours = conform.Seen(0, ["a", "b"], "m 1", {".text": "0x1"}, b"ab", ["f 0x1 0x00000000  GPL"], 0)
    theirs = ours._replace(rc=-2, dmesg=["a"], code=b"ac", exports=[])
    assert list(conform._compare(ours, theirs)) == [
        "rc: ours 0, the kernel's -2",
        "dmesg: ours 'b', the kernel's 'no more'",
        "exports: ours 'f 0x1 0x00000000  GPL', the kernel's 'no more'",
        "code, byte 0x1: ours 62, the kernel's 63",
    ]
