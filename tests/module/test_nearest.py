"""Modules of releases that have no profile: which one stands in, and why; insmod stays strict."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel, KernelError
from kmod_emu.abi import profile
from kmod_emu.abi.dwarf import DwarfLayouts
from kmod_emu.module.evidence import Evidence
from kmod_emu.module.nearest import choose
from kmod_emu.uapi import errno
from kmod_emu.vmlinux.build import from_image
from tests.vmlinux.synthetic import VERMAGIC, bzimage, vmlinux

MODULES = Path(__file__).parents[1] / "modules"
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here")


def module(release, name="hello"):
    return (MODULES / release / f"{name}.ko").read_bytes()


def renamed(blob, old, new):
    """The same module, said to be built for another release."""
    assert len(old) == len(new)
    return blob.replace(b"vermagic=" + old.encode(), b"vermagic=" + new.encode())


def vermagic(blob):
    return re.search(rb"vermagic=([^\0]*)\0", blob)[1].decode()


def pick(blob):
    return choose(blob, vermagic(blob))


def test_a_modules_own_release_needs_no_reason():
    blob = module("6.12.107+deb13-amd64")
    assert pick(blob) == (profile.load("6.12"), "")


@pytest.mark.parametrize(
    ("release", "other"),
    [
        ("5.10.0-32-amd64", "5.10.0-99-amd64"),
        ("6.1.0-56-amd64", "6.1.0-60-amd64"),
        ("6.12.107+deb13-amd64", "6.12.200+deb13-amd64"),
        ("7.2.13+deb14-amd64", "7.3.10+deb14-amd64"),
    ],
)
def test_the_release_that_fits_stands_in(release, other):
    blob = renamed(module(release), release, other)
    choice = pick(blob)
    assert choice.reason.startswith(f"there is no profile of {other}; {release} stands for it: its struct")
    assert (choice.profile.release, choice.profile.vermagic) == (other, vermagic(blob))
    kernel = Kernel(choice.profile)
    assert kernel.cat("/proc/sys/kernel/osrelease") == f"{other}\n".encode()
    kernel.insmod(blob)
    kernel.rmmod("hello")


def test_insmod_on_a_booted_machine_is_as_strict_as_linux():
    """7.2 has no symbol versions, so all of the version magic counts."""
    blob = renamed(module("7.2.13+deb14-amd64"), "7.2.13+deb14-amd64", "7.2.14+deb14-amd64")
    with pytest.raises(KernelError) as error:
        Kernel("7.2").insmod(blob)
    assert error.value.errno == errno.ENOEXEC


def test_symbol_versions_are_counted():
    blob = renamed(module("6.1.0-56-amd64"), "6.1.0-56-amd64", "6.1.0-55-amd64")
    number = len(Evidence(blob).versions)
    assert f"{number} of {number} symbol versions are the same" in pick(blob).reason


def test_another_struct_module_does_not_fit(monkeypatch, tmp_path):
    """6.12 has 6.1's flags, but its struct module is another."""
    shutil.copy(profile.path("6.12.107+deb13-amd64"), tmp_path)
    monkeypatch.setattr(profile, "SHIPPED", tmp_path)
    assert pick(module("6.1.0-56-amd64")) is None


def test_the_sizes_in_its_btf_are_compared():
    """BTF of 6.12 and later stands on a base with the names and sizes of the kernel's structures."""
    old = "7.2.13+deb14-amd64"
    blob = renamed(module(old, "params"), old, "7.2.99+deb14-amd64")
    sizes = Evidence(blob).sizes
    assert sizes["task_struct"] == profile.load("7.2").struct("task_struct").size
    assert re.search(r"all \d\d structures in its BTF have the same size", pick(blob).reason)
    size = sizes["task_struct"].to_bytes(4, "little")
    assert blob.count(size) == 1
    assert pick(blob.replace(size, (sizes["task_struct"] + 8).to_bytes(4, "little"))) is None


def test_another_crc_of_module_layout_does_not_fit():
    blob = renamed(module("6.1.0-56-amd64"), "6.1.0-56-amd64", "6.1.0-55-amd64")
    crc = Evidence(blob).versions["module_layout"].to_bytes(8, "little")
    assert pick(blob.replace(crc + b"module_layout", bytes(8) + b"module_layout")) is None


def test_a_module_with_crcs_needs_a_kernel_that_has_them(monkeypatch, tmp_path):
    """7.2 has none, and once took any module of 6.12, whose struct module has the same size there."""
    shutil.copy(profile.path("7.2.13+deb14-amd64"), tmp_path)
    monkeypatch.setattr(profile, "SHIPPED", tmp_path)
    assert pick(module("6.12.107+deb13-amd64")) is None


def test_other_flags_do_not_fit():
    blob = module("6.1.0-56-amd64")
    assert choose(blob, "6.1.0-1-rt SMP preempt_rt mod_unload modversions ") is None
    assert choose(blob, "") is None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_damaged_modules_raise_nothing(data):
    blob = bytearray(module("6.1.0-56-amd64"))
    for _ in range(data.draw(st.integers(1, 10))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(blob[: data.draw(st.integers(0, len(blob)))])
    choose(cut, "6.1.0-1-amd64 SMP preempt mod_unload modversions ")


def test_a_profile_with_borrowed_layouts_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    profile.user_directory().mkdir(parents=True)
    contents = from_image(bzimage(vmlinux(with_btf=False)))
    (profile.user_directory() / "9.9.9-test.profile").write_bytes(contents)
    choice = choose(module("6.1.0-56-amd64"), VERMAGIC)
    assert choice.profile.release == "9.9.9-test"
    assert choice.reason.startswith("layouts are not those of 9.9.9-test but of ")


# --- debug information --------------------------------------------------------------------------------

TYPES = {1: "char", 2: "short", 4: "int", 8: "long"}


def c_struct(layout, shift_from, shift):
    """A C structure with the members of a layout; those from an offset on lie `shift` bytes further on."""
    lines = []
    for number, (name, place) in enumerate(layout.members.items()):
        at = place.offset + (shift if place.offset >= shift_from else 0)
        member = f"{TYPES[place.size]} {name}" if place.size in TYPES else f"char {name}[{place.size}]"
        pad = f"char _p{number}[{at}]; " if at else ""
        lines.append(f"struct {{ {pad}{member}; }} __attribute__((packed));")
    size = layout.size + shift
    return f"struct {layout.name} {{ union {{ char _all[{size}]; {' '.join(lines)} }}; }};"


def compiled(tmp_path, source):
    (tmp_path / "m.c").write_text(source)
    flags = "-c -g -O2 -mcmodel=kernel -fno-pic -mno-red-zone -fcf-protection=none"
    subprocess.run(["gcc", *flags.split(), "-o", "m.ko", "m.c"], cwd=tmp_path, check=True)
    return (tmp_path / "m.ko").read_bytes()


@needs_gcc
def test_a_module_brings_the_layouts_of_its_debug_information(tmp_path):
    """Its struct module is 64 bytes larger than any we know, and the machine uses it as it is."""
    layout = profile.load("6.1").struct("module")
    name = layout.members["mkobj"].offset
    magic = "6.1.500-mine SMP preempt mod_unload "
    blob = compiled(
        tmp_path,
        c_struct(layout, name, 64)
        + f"""
        int _printk(const char *, ...);
        #define INFO(n, text) static const char n[] __attribute__((section(".modinfo"), used)) = text
        INFO(i1, "license=GPL"); INFO(i2, "vermagic={magic}"); INFO(i3, "name=mine");
        int init_module(void) {{ _printk("mine\\n"); return 0; }}
        void cleanup_module(void) {{ }}
        struct module __this_module __attribute__((section(".gnu.linkonce.this_module"), used)) = {{
            .name = "mine" }};
        void *pointers[] = {{ init_module, cleanup_module }};
        """,
    )
    found = Evidence(blob)
    own = found.layouts.layout("module")
    assert own.size == layout.size + 64
    assert own.offset("state") == 0
    assert own.offset("refcnt") == layout.offset("refcnt") + 64
    choice = choose(blob, magic)
    assert "6.1.0-56-amd64 stands for it" in choice.reason
    assert "of 1 structures in its debug information 1 differ and are taken from" in choice.reason
    assert choice.profile.struct("module") == own._replace(release="6.1.500-mine")
    assert not choice.profile.modversions
    kernel = Kernel(choice.profile)
    kernel.insmod(blob)
    assert [loaded.name for loaded in kernel.modules] == ["mine"]
    kernel.rmmod("mine")


@needs_gcc
def test_dwarf_layouts_are_the_compilers(tmp_path):
    from elftools.elf.elffile import ELFFile

    compiled(
        tmp_path,
        """
        typedef unsigned int u32;
        struct inner { short a; long b; };
        struct outer { char c; u32 low : 3, high : 7; struct inner in[3];
                       union { void *p; const volatile u32 q; };
                       struct { int x; } named; int matrix[2][5]; char flexible[]; };
        union either { int i; struct inner s; };
        struct outer one; union either two; struct hidden *three;
        """,
    )
    with (tmp_path / "m.ko").open("rb") as file:
        layouts = DwarfLayouts(ELFFile(file))
        outer = layouts.layout("outer", "r")
        assert {name: tuple(place) for name, place in outer.members.items()} == {
            "c": (0, 1, None, None),
            "low": (0, 4, 8, 3),
            "high": (0, 4, 11, 7),
            "in": (8, 48, None, None),
            "p": (56, 8, None, None),
            "q": (56, 4, None, None),
            "named": (64, 4, None, None),
            "matrix": (68, 40, None, None),
            "flexible": (108, 0, None, None),
        }
        assert (outer.size, outer.release) == (112, "r")
        assert layouts.layout("either").size == 16
        assert layouts.layout("hidden") is None
