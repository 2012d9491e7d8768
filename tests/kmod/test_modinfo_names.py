"""modinfo beside Debian's own: a kernel's modules, names, aliases, options; standard error too."""

import lzma
import os
from pathlib import Path

import pytest

from kmod_emu import samples
from tests.kmod.beside import ours, real, real_kmod

DIRECTORIES = sorted(Path("/lib/modules").glob("6.1.0-*-amd64/modules.dep.bin"))
DIRECTORY = DIRECTORIES[-1].parent if DIRECTORIES else Path("/nowhere")
RELEASE = DIRECTORY.name
needs_modules = pytest.mark.skipif(not DIRECTORIES, reason="no kernel package is installed")


@real_kmod
@needs_modules
def test_hundreds_of_modules():
    paths = [str(path) for path in sorted(DIRECTORY.rglob("*.ko*"))][::10]
    assert ours("modinfo", *paths) == real("modinfo", *paths)


@real_kmod
@needs_modules
@pytest.mark.parametrize(
    "args",
    [
        ["ext4"],
        ["ext4", "xor", "none", "e1000e"],
        ["-p", "e1000e"],
        ["-0", "xor"],
        ["-n", "fs-ext4", "snd-hda-intel", "snd_hda_intel"],
        ["-F", "depends", "symbol:xor_blocks"],
        ["-m", "-n", "fs-ext4"],
        ["-m", "none"],
        ["-m", "a]b"],
        ["pci:v00008086d0000100Esv*sd*bc*sc*i*"],
        ["-n", "usb:v*"],
        ["a[b"],
        ["a]b"],
        [""],
        ["-m", ""],
        ["8250"],
        ["-n", "8250"],
        ["-F", "name", "8250"],
        ["-p", "8250"],
        ["-0", "unix"],
        ["net-pf-1"],
        ["-a", "-d", "unix"],
        ["ext4.ko"],
        ["-m", "ext4.ko"],
    ],
    ids=" ".join,
)
def test_names(args):
    args = ["-k", RELEASE, *args]
    assert ours("modinfo", *args) == real("modinfo", *args)


@real_kmod
@pytest.mark.parametrize(
    "args",
    [
        ["-b", "/nowhere", "-k", "1.0", "ext4"],
        ["-b", "relative", "-k", "1.0", "-m", "ext4"],
        ["-x"],
        ["--fi"],
        ["--f"],
        ["-F"],
        [],
        ["-n", "--"],
    ],
    ids=" ".join,
)
def test_refusals(args):
    assert ours("modinfo", *args) == real("modinfo", *args)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A module directory with what is built in, as -b means it."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "root/lib/modules/1.0"
    (directory / "kernel").mkdir(parents=True)
    (directory / "kernel/params.ko.xz").write_bytes(lzma.compress(samples.path("params").read_bytes()))
    (directory / "modules.builtin").write_text("kernel/one.ko\nkernel/two.ko\nkernel/three.ko\n")
    (directory / "modules.order").write_text("kernel/params.ko\n")
    (directory / "modules.builtin.modinfo").write_bytes(
        b"one.license=GPL\0one.parm=a:first\0one.parmtype=a:int\0one.alias=first-*\0three.license=MIT\0"
    )
    assert ours("depmod", "-b", "root", "1.0").status == 0
    return directory


@real_kmod
@pytest.mark.parametrize("args", [["params"], ["one"], ["two"], ["three", "one"], ["first-x"], ["-p", "one"]])
def test_a_tree_with_a_compressed_module_and_built_in_ones(tree, args):
    args = ["-b", "root", "-k", "1.0", *args]
    assert ours("modinfo", *args) == real("modinfo", *args)
    (tree / "modules.builtin.modinfo").unlink()
    assert ours("modinfo", *args) == real("modinfo", *args)


@real_kmod
@pytest.mark.parametrize(
    "name", ["x.ko", "./x.ko", "x.ko.xz", "x.ko.old", "folder.ko", "short.ko", "none.ko"]
)
def test_what_is_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    blob = samples.path("hello").read_bytes()
    for file in ("x.ko", "x.ko.xz", "x.ko.old"):
        Path(file).write_bytes(blob)
    Path("short.ko").write_bytes(blob[:5])
    Path("folder.ko").mkdir()
    args = ["-b", os.fspath(tmp_path), "-k", "1.0", name]
    assert ours("modinfo", *args) == real("modinfo", *args)


def test_a_samples_name_is_the_last_resort(tree):
    assert ours("modinfo", "-n", "hello").out == f"{samples.path('hello')}\n"
    wanted = f"{tree}/kernel/params.ko.xz\n"
    assert ours("modinfo", "-b", "root", "-k", "1.0", "-n", "params").out == wanted
