"""Structures as a module's own debug information describes them."""

import io

import pytest
from elftools.elf.elffile import ELFFile

from kmod_emu import samples
from kmod_emu.abi import profile
from kmod_emu.abi.dwarf import DwarfLayouts


@pytest.fixture(scope="module")
def layouts():
    return DwarfLayouts(ELFFile(io.BytesIO(samples.path("echo").read_bytes())))


@pytest.mark.parametrize("name", ["module", "task_struct", "file_operations", "inode", "dentry", "mutex"])
def test_a_module_describes_what_the_kernel_has(layouts, name):
    """BTF of the kernel is the judge: both come of the same headers."""
    known = profile.load("6.1").struct(name)
    found = layouts.layout(name)
    assert found.size == known.size
    assert {member: found.members.get(member) for member in known.members} == dict(known.members)


def test_what_is_not_described_has_no_layout(layouts):
    assert layouts.layout("no_such_struct") is None


def test_a_file_without_debug_information_describes_nothing():
    stripped = io.BytesIO(samples.path("echo").read_bytes().replace(b".debug_info", b".nodbg_info"))
    assert DwarfLayouts(ELFFile(stripped)).names == {}


def test_a_damaged_file_describes_less_or_nothing():
    blob = bytearray(samples.path("echo").read_bytes())
    section = ELFFile(io.BytesIO(blob)).get_section_by_name(".debug_abbrev")
    blob[section["sh_offset"] : section["sh_offset"] + section["sh_size"]] = b"\xff" * section["sh_size"]
    assert DwarfLayouts(ELFFile(io.BytesIO(blob))).layout("module") is None
