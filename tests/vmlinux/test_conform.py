"""Our loader and the kernel's own, on equal machines."""

import pytest

from kmod_emu import samples
from kmod_emu.sweep.conform.memory import Look, Piece
from kmod_emu.sweep.conform.seen import Conformity, Seen, compare


@pytest.fixture(scope="module")
def both(vmlinuz):
    return Conformity(vmlinuz)


@pytest.mark.parametrize("name", ["hello", "params", "echo"])
def test_samples_are_loaded_alike(both, name):
    ours, differences = both.load(str(samples.path(name)))
    assert differences == []
    assert (ours.rc, ours.unload) == (0, 0)
    assert [piece.name for piece in ours.look.pieces] == ["core", "init"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("fs/configfs/configfs", "calls through R8 and above, which have six bytes, and exports"),
        ("drivers/video/fbdev/cirrusfb", "calls through pv_ops"),
        ("net/sched/cls_flow", "an alternative for a feature of the processor, POPCNT"),
        ("fs/freevxfs/freevxfs", "tables for the stack's unwinder, which are sorted"),
        ("mm/zsmalloc", "per-CPU variables, types for BPF, a table of bugs"),
        ("drivers/base/regmap/regmap-spi", "no init: its memory is compared when it is loaded"),
    ],
)
def test_modules_are_the_same_in_every_byte(both, distribution_module, name, what):
    """Before init runs; each of these differed in what is named."""
    ours, differences = both.load(distribution_module(name))
    assert differences == []
    assert ours.look.pieces


def test_a_module_that_is_refused_is_refused_alike(both, distribution_module):
    ours, differences = both.load(distribution_module("net/netfilter/nft_reject"))
    assert (ours.rc, differences) == (-2, [])


@pytest.mark.parametrize(
    ("there", "other", "line"),
    [
        (b" SMP preempt ", b" UP_ preempt ", "<3>hello: version magic '6.1.0-56-amd64 UP_ "),
        (b"\0module_layout\0", b"\0module_lay0ut\0", "<4>hello: no symbol version for module_layout"),
    ],
)
def test_a_module_of_another_kernel_is_refused_alike(both, tmp_path, there, other, line):
    file = tmp_path / "hello.ko"
    file.write_bytes(samples.path("hello").read_bytes().replace(there, other))
    ours, differences = both.load(str(file))
    assert (ours.rc, differences) == (-8, [])
    assert ours.dmesg[0].startswith(line)


def looked(contents, permissions):
    look = Look(None)
    look.pieces = [Piece("core", 0x1000, contents, permissions)]
    look.sections = [(".text", 0x1000, 16), (".data", 0x2000, 16)]
    return look


def test_a_difference_is_told_by_its_place():
    data = b"ab".ljust(4096, b"\0") + (0xFFFF888000001000).to_bytes(8, "little") + b"\1".ljust(8, b"\0")
    other = data.replace(b"ab", b"ac").replace(b"\x10\0\0\x80", b"\x20\0\0\x80").replace(b"\1", b"\2")
    ours = Seen(0, ["a", "b"], ["m 1"], "0", [".text 0x1"], looked(data, ["r-x", "rw-"]), ["f 0x1"], 0, [])
    theirs = ours._replace(rc=-2, dmesg=["a"], look=looked(other, ["r-x", "r--"]), exports=[])
    assert list(compare(ours, theirs)) == [
        "rc: ours 0, the kernel's -2",
        "dmesg: ours 'b', the kernel's 'no more'",
        "exports: ours 'f 0x1', the kernel's 'no more'",
        "permissions of .data+0x0: ours rw-, the kernel's r--",
        ".text+0x0: ours 6162000000000000, the kernel's 6163000000000000",
        ".data+0x8: ours 0100000000000000, the kernel's 0200000000000000",
    ]
