"""Where sections go (SPEC A3)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module import elf
from kmod_emu.module.layout import Layout, align_up, is_core_symbol, lay_out
from tests.module.linking import checked, link, module_file

PAGE = 4096


def layout_of(image: elf.Image) -> Layout:
    for index in (image.versions, image.modinfo, image.percpu):
        image.sections[index].flags &= ~elf.SHF_ALLOC
    return lay_out(image)


def image_of(name: str) -> elf.Image:
    return checked(module_file(name))


# /proc/modules of the recorded kernel: core's size once live.
@pytest.mark.parametrize(
    ("name", "size"),
    [("h_hello", 16384), ("h_none", 12288), ("h_params", 16384), ("h_exp", 16384), ("h_use", 16384),
     ("h_misc", 16384), ("h_gplsym", 16384), ("h_noinit", 16384), ("h_weak", 16384), ("h_usens", 16384),
     ("sec_nobits_huge", 16384), ("sec_nobits_off", 16384), ("sec_align_odd", 16384)],
)  # fmt: skip
def test_core_size_as_recorded(name: str, size: int) -> None:
    assert layout_of(image_of(name)).regions["core"].size == size


def test_size_while_loading_counts_init_too() -> None:
    """Case init:mode_nullread: "h_ret 28672 1 - Loading"."""
    regions = layout_of(image_of("h_ret")).regions
    assert regions["core"].size + regions["init"].size == 28672


def test_classes_are_whole_pages_in_order() -> None:
    core = layout_of(image_of("h_params")).regions["core"]
    assert 0 < core.text_size < core.ro_size <= core.ro_after_init_size < core.size
    assert {core.text_size % PAGE, core.ro_size % PAGE, core.ro_after_init_size % PAGE, core.size % PAGE} == {
        0
    }


def test_init_has_no_ro_after_init() -> None:
    init = layout_of(image_of("h_params")).regions["init"]
    assert init.ro_after_init_size == init.ro_size


def test_sections_lie_in_their_class() -> None:
    layout = layout_of(image_of("h_params"))
    for section, region, offset in layout.placements:
        plan = layout.regions[region]
        if section.flags & elf.SHF_EXECINSTR:
            assert offset + section.size <= plan.text_size
        elif not section.flags & elf.SHF_WRITE and section.name not in (".symtab", ".strtab"):
            assert plan.text_size <= offset
            assert offset + section.size <= plan.ro_size
        else:
            assert plan.ro_size <= offset


def test_init_is_by_name_and_exit_stays() -> None:
    regions = {section.name: region for section, region, _ in layout_of(image_of("h_hello")).placements}
    assert regions[".init.text"] == regions[".init.data"] == "init"
    assert regions[".exit.text"] == regions[".exit.data"] == "core"
    assert regions[".symtab"] == regions[".strtab"] == "init"
    assert ".modinfo" not in regions
    assert "__versions" not in regions
    assert ".comment" not in regions


def test_empty_sections_have_a_place() -> None:
    places = {section.name: offset for section, _, offset in layout_of(image_of("h_hello")).placements}
    assert places[".text"] == 0
    assert ".bss" in places


def test_ro_after_init_is_a_class_of_its_own() -> None:
    image = image_of("h_hello")
    data = image.sections[image.find(".exit.data")]
    data.flags |= elf.SHF_RO_AFTER_INIT
    layout = layout_of(image)
    core = layout.regions["core"]
    offset = next(offset for section, _, offset in layout.placements if section is data)
    assert core.ro_size <= offset < core.ro_after_init_size == core.ro_size + PAGE


def test_core_keeps_named_symbols_of_its_own_sections() -> None:
    """As /proc/kallsyms listed them after init (case sysfs:hello)."""
    image = image_of("h_hello")
    plan = layout_of(image).symtab
    names = [image.symbol_name(image.symbols[index]) for index in plan.symbols]
    addressable = "__UNIQUE_ID___addressable_cleanup_module195"
    assert names == ["", "_note_10", "_note_9", "h_exit", addressable, "__this_module", "cleanup_module"]


def test_core_symbol_table_lies_behind_cores_data() -> None:
    image = image_of("h_hello")
    layout = layout_of(image)
    plan, core = layout.symtab, layout.regions["core"]
    end = max(offset + section.size for section, region, offset in layout.placements if region == "core")
    names = sum(len(image.symbol_name(image.symbols[index])) + 1 for index in plan.symbols)
    assert plan.symoffs >= end
    assert plan.symoffs % 8 == 0
    assert plan.stroffs == plan.symoffs + 24 * len(plan.symbols)
    assert plan.typeoffs == plan.stroffs + names
    assert core.size >= plan.typeoffs + len(plan.symbols)


@pytest.mark.parametrize(
    ("shndx", "name_offset", "core"),
    [(elf.SHN_UNDEF, 1, False), (elf.SHN_ABS, 1, False), (elf.SHN_COMMON, 1, False), (31, 1, False),
     (6, 1, True), (6, 0, False), (4, 1, False), (11, 1, False)],
)  # fmt: skip
def test_core_symbols(shndx: int, name_offset: int, core: bool) -> None:
    """Section 6 of h_hello is .exit.text, 4 .init.text, 11 .modinfo; there is no 31."""
    image = image_of("h_hello")
    layout_of(image)
    assert is_core_symbol(image, elf.Symbol(name_offset, 0x12, 0, shndx, 0, 0)) is core


def test_sizes_are_32_bits_wide() -> None:
    """A .bss of 2**40 bytes adds nothing (case sec_nobits_huge, which loaded)."""
    assert layout_of(image_of("sec_nobits_huge")).regions["core"].size == 16384


def test_where_sections_overlap_the_later_header_wins() -> None:
    """An alignment of 2**64-1 puts read-only sections at 0, over the code, which is copied after them."""
    blob = bytearray(module_file("h_hello"))
    struct.pack_into("<Q", blob, 0xCB8 + 64 + 48, (1 << 64) - 1)  # .note.gnu.build-id, before .exit.text
    linked = link(bytes(blob))
    code = linked.image.contents(linked.image.sections[6])
    assert linked.memory["core"][:3] == code[:3]


@given(st.integers(0, 1 << 31), st.integers(0, 31))
def test_align_up_to_powers_of_two(size: int, shift: int) -> None:
    aligned = align_up(size, 1 << shift)
    assert aligned % (1 << shift) == 0
    assert 0 <= aligned - size < 1 << shift


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1))
def test_align_up_is_an_unsigned_int(size: int, align: int) -> None:
    mask = ((align or 1) - 1) % (1 << 32)
    assert align_up(size, align) == (size + mask) % (1 << 32) & (mask ^ 0xFFFFFFFF)
