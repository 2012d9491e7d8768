"""Verification of the file. What the recordings hold is in test_linking.py; here is what they lack."""

from __future__ import annotations

import errno
import struct

import pytest

from kmod_emu.module import elf
from kmod_emu.module.errors import LoadError
from tests.module.linking import checked, dmesg, module_file

_TABLE = 0xCB8  # section headers of h_hello.ko
_FIELDS = {"name": (0, "<I"), "type": (4, "<I"), "flags": (8, "<Q"), "addr": (16, "<Q"), "offset": (24, "<Q"),
           "size": (32, "<Q"), "link": (40, "<I")}  # fmt: skip


def with_header(blob: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(blob)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def with_field(blob: bytes, section: int, field: str, value: int) -> bytes:
    offset, form = _FIELDS[field]
    return with_header(blob, _TABLE + 64 * section + offset, form, value)


def index_of(blob: bytes, name: str) -> int:
    image = checked(blob)
    return next(section.index for section in image.sections if section.name == name)


def refusal(blob: bytes) -> list[str]:
    with pytest.raises(LoadError) as error:
        checked(blob)
    assert error.value.errno == errno.ENOEXEC
    return dmesg(error.value)


@pytest.mark.parametrize("length", [1, 4, 63])
def test_less_than_a_header(hello: bytes, length: int) -> None:
    assert refusal(hello[:length]) == [f"<3>Invalid ELF header len {length}"]


def test_first_failing_check_wins(hello: bytes) -> None:
    """The type is looked at before the machine, the machine before the section header size."""
    wrong = with_header(with_header(with_header(hello, 16, "<H", 2), 18, "<H", 3), 58, "<H", 40)
    assert refusal(wrong) == ["<3>Invalid ELF header type: 2 != 1"]
    assert refusal(with_header(wrong, 16, "<H", 1)) == ["<3>Invalid architecture in ELF header: 3"]


def test_class_and_byte_order_are_not_looked_at(hello: bytes) -> None:
    assert checked(hello[:4] + b"\x01\x02" + hello[6:]).machine == elf.EM_X86_64


def test_section_zero_prints_its_type_as_a_signed_number(hello: bytes) -> None:
    assert refusal(with_field(hello, 0, "type", 0xFFFFFFFF)) == [
        "<3>ELF Spec violation: section 0 type(-1)!=SH_NULL or non-zero len or addr"
    ]


@pytest.mark.parametrize("field", ["size", "addr"])
def test_section_zero_must_be_empty(hello: bytes, field: str) -> None:
    assert refusal(with_field(hello, 0, field, 1)) == [
        "<3>ELF Spec violation: section 0 type(0)!=SH_NULL or non-zero len or addr"
    ]


def test_end_of_a_section_may_be_the_end_of_the_file_but_not_behind(hello: bytes) -> None:
    index = index_of(hello, ".comment")
    offset = checked(hello).sections[index].offset
    checked(with_field(hello, index, "size", len(hello) - offset))
    assert refusal(with_field(hello, index, "size", len(hello) - offset + 1)) == [
        f"<3>Invalid ELF section in module (section {index} type 1)"
    ]


def test_end_that_overflows_is_outside(hello: bytes) -> None:
    index = index_of(hello, ".comment")
    assert refusal(with_field(hello, index, "size", (1 << 64) - 8)) == [
        f"<3>Invalid ELF section in module (section {index} type 1)"
    ]


def test_names_must_end_in_nul(hello: bytes) -> None:
    index = index_of(hello, ".shstrtab")
    size = checked(hello).sections[index].size
    assert refusal(with_field(hello, index, "size", size - 1)) == [
        "<3>ELF Spec violation: section name table isn't null terminated"
    ]


def test_section_table_may_fill_the_file_exactly(hello: bytes) -> None:
    assert len(hello) == _TABLE + 31 * 64
    checked(hello)
    assert refusal(hello[:-1]) == ["<3>Invalid ELF section header overflow"]


def test_module_without_modinfo_takes_its_name_from_struct_module(hello: bytes) -> None:
    image = checked(with_field(hello, index_of(hello, ".modinfo"), "flags", 0))
    assert (image.modinfo, image.name) == (0, "h_hello")


def test_messages_of_a_nameless_module(hello: bytes) -> None:
    nameless = with_field(hello, index_of(hello, ".modinfo"), "flags", 0)
    missing = "(missing .modinfo section or name field)"
    assert refusal(with_field(nameless, index_of(hello, ".symtab"), "type", 1)) == [
        f"<4>{missing}: module has no symbols (stripped?)"
    ]
    assert refusal(with_field(nameless, index_of(hello, ".gnu.linkonce.this_module"), "flags", 1)) == [
        f"<4>{missing}: No module found in object"
    ]


def test_modinfo_is_read_even_if_its_type_says_it_has_no_bytes(hello: bytes) -> None:
    """get_modinfo() looks at sh_offset and sh_size only."""
    image = checked(with_field(hello, index_of(hello, ".modinfo"), "type", elf.SHT_NOBITS))
    assert ("license", "GPL") in image.modinfo_tags()


def test_last_modinfo_string_goes_on_behind_the_section(hello: bytes) -> None:
    """The size limits where a string begins, not where it ends."""
    index = index_of(hello, ".modinfo")
    size = checked(hello).sections[index].size
    image = checked(with_field(hello, index, "size", size - 10))
    assert ("vermagic", "6.1.0-56-amd64 SMP preempt mod_unload modversions ") in image.modinfo_tags()


def test_first_symbol_table_counts(hello: bytes) -> None:
    image = checked(hello)
    assert image.sections[image.symtab].name == ".symtab"
    assert image.sections[image.strtab].name == ".strtab"
    assert len(image.symbols) == 23
    assert image.symbol_name(image.symbols[20]) == "init_module"
    assert image.symbols[20].shndx == index_of(hello, ".init.text")


def test_find_sees_only_what_gets_memory(hello: bytes) -> None:
    image = checked(hello)
    assert image.find(".comment") == 0
    assert image.sections[image.find_last(".comment")].name == ".comment"
    assert image.find(".no.such") == image.find_last(".no.such") == 0


def test_names_keep_bytes_that_are_not_utf8() -> None:
    assert elf.cstring(b"ab\xff\0", 0).encode("utf-8", "surrogateescape") == b"ab\xff"


@pytest.mark.parametrize("name", ["h_params", "h_exp", "h_misc", "h_weak", "h_ret", "h_none"])
def test_real_modules_pass(name: str) -> None:
    image = checked(module_file(name))
    assert image.name == name
