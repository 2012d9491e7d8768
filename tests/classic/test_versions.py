"""Symbol versions: printk_R1b7d4074, and when they are compared (SPEC B4)."""

import re

import pytest

from kmod_emu import samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.link import bare
from kmod_emu.kmod.errors import ToolError
from tests.classic.test_rebuild import SOURCES

PLAIN, VERSIONED = samples.classic("hello"), samples.classic("hello_versions")


def changed(tmp_path, old, new):
    file = tmp_path / "changed.o"
    blob = VERSIONED.read_bytes()
    assert old in blob
    file.write_bytes(blob.replace(old, new))
    return file


@pytest.fixture(scope="module")
def versioned():
    return ClassicKernel(versions=True)


def load(kernel, file):
    kernel.insmod(file)
    kernel.rmmod(file.stem)


def test_the_kernel_exports_versioned_names(versioned):
    names = [line.split()[1] for line in versioned.cat("/proc/ksyms").decode().splitlines()]
    assert names[0] == "Using_Versions"
    assert "printk_R1b7d4074" in names
    assert all(re.fullmatch(r"\w+_R[0-9a-f]{8}", name) for name in names[1:])


def test_the_header_of_the_samples_has_the_same(versioned):
    names = {line.split()[1] for line in versioned.cat("/proc/ksyms").decode().splitlines()[1:]}
    text = (SOURCES / "include/linux/modversions.h").read_text()
    assert dict(re.findall(r"#define (\w+)\s+(\w+_R\w+)", text)) == {bare(name, ""): name for name in names}


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize("file", [PLAIN, VERSIONED])
def test_names_are_compared_without_versions_where_one_side_has_none(versions, file):
    load(ClassicKernel(versions=versions), file)


def test_another_version_is_another_symbol(versioned, tmp_path):
    file = changed(tmp_path, b"printk_R1b7d4074", b"printk_R1b7d4075")
    with pytest.raises(ToolError) as error:
        versioned.insmod(file)
    assert str(error.value) == f"{file}: unresolved symbol printk_R1b7d4075"
    load(ClassicKernel(), file)


def test_with_versions_on_both_sides_the_kernel_may_be_another(versioned, tmp_path):
    file = changed(tmp_path, b"kernel_version=2.4.32", b"kernel_version=2.4.18")
    load(versioned, file)
    with pytest.raises(ToolError, match="kernel-module version mismatch"):
        ClassicKernel().insmod(file)


def test_versions_survive_in_a_file(versioned, tmp_path):
    versioned.save(tmp_path / "x")
    assert b"printk_R1b7d4074" in ClassicKernel.load(tmp_path / "x").cat("/proc/ksyms")


@pytest.mark.parametrize("versions", [False, True])
def test_exports_from_python(versions):
    kernel = ClassicKernel(versions=versions)
    seen = []

    @kernel.export("int fat_add_cluster(int last)")
    def fat_add_cluster(kernel, last):
        seen.append(last)
        return 9

    for name in ("fat_free_clusters(void)", "fat_free(int first)"):
        kernel.export(f"int {name}")(lambda kernel, *first: 1)
    kernel.insmod(samples.classic("msdos"))
    assert seen == [0, 9]
    assert kernel.dmesg() == ["msdos: a file in clusters 9 and 9, 1 are free"]
    assert kernel.call(kernel.symbol("fat_add_cluster"), 3) == 9
    with pytest.raises(LookupError):
        kernel.symbol("nobody")


def test_symbols_of_modules():
    kernel = ClassicKernel()
    kernel.insmod(samples.classic("fat"))
    assert kernel.call(kernel.symbol("fat_add_cluster"), 0) == 2
