"""Paths through computed directories."""

from types import SimpleNamespace

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.fs.inode import permission
from kmod_emu.fs.order import kernfs_name_hash
from kmod_emu.fs.procfs import Procfs
from kmod_emu.fs.tree import Node, directory
from kmod_emu.uapi import errno


@pytest.fixture
def process():
    kernel = Kernel()
    kernel[Procfs].files.update(
        {
            "a": Node(0o444, read=lambda task: "A"),
            "up": Node(0o777, target="../proc/a"),
            "me": Node(0o777, target="me"),
            "deep": directory({"b": Node(0o200), "cc": Node(0o444), "aa": Node(0o444)}),
        }
    )
    return kernel.process()


def test_lookup(process):
    for path in ("/proc/a", "proc//./deep/../a", "/../../proc/up"):
        assert process.read_file(path) == b"A"
    assert process.readlink("/proc/up") == "../proc/a"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/proc/x", errno.ENOENT),
        ("/proc/a/b", errno.ENOTDIR),
        ("/proc/a/", errno.ENOTDIR),
        ("/proc/me", errno.ELOOP),
        ("/nothing", errno.ENOENT),
    ],
)
def test_lookup_fails_as_linux_does(process, path, number):
    with pytest.raises(KernelError) as error:
        process.stat(path)
    assert error.value.errno == number


def test_listing_needs_a_directory(process):
    assert process.listdir("/proc/deep") == ["b", "aa", "cc"]
    with pytest.raises(KernelError) as error:
        process.listdir("/proc/a")
    assert error.value.errno == errno.ENOTDIR


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "bit", "allowed"),
    [
        (0o400, 0, 0, 4, True),
        (0o400, 1000, 1000, 4, False),
        (0o440, 1000, 0, 4, True),
        (0o442, 1000, 1000, 2, True),
        (0o022, 0, 0, 2, False),
    ],
)
def test_permission_bits(mode, uid, gid, bit, allowed):
    inode = SimpleNamespace(mode=0o100000 | mode, uid=0, gid=0)
    task = SimpleNamespace(
        who=lambda member: uid, in_group=lambda group: group == gid, capable=lambda capability: False
    )
    assert permission(task, inode, bit) is allowed
    assert permission(SimpleNamespace(**vars(task) | {"capable": lambda capability: True}), inode, bit)


def test_hashes_never_stand_for_the_two_dots():
    assert all(2 <= kernfs_name_hash(f"name{n}") < 0x7FFFFFFF for n in range(2000))


def test_proc_files_of_a_fresh_machine():
    kernel = Kernel()
    assert kernel.cat("/proc/sys/kernel/osrelease") == b"6.1.0-56-amd64\n"
    assert kernel.cat("/proc/sys/kernel/tainted") == b"0\n"
    assert kernel.cat("/proc/modules") == b""
    version = kernel.cat("/proc/version")
    assert version.startswith(b"Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12 ")
    assert version.endswith(b" #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)\n")
    symbols = kernel.cat("/proc/kallsyms").splitlines()
    assert f"{kernel.symbol('_printk'):016x} T _printk".encode() in symbols
    assert all(line.startswith(b"0" * 16) for line in kernel.cat("/proc/kallsyms", uid=1000).splitlines())


def test_taint_flags_are_only_ever_added():
    kernel = Kernel()
    with kernel.process() as root:
        for text in (b"512\n", b"0", b"1"):
            fd = root.open("/proc/sys/kernel/tainted", 1)
            root.write(fd, text)
            root.close(fd)
    assert kernel.cat("/proc/sys/kernel/tainted") == b"513\n"
