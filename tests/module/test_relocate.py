"""Relocation types, one by one (SPEC A6)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.module.relocate import KINDS, Complaints, SymbolValues, Target, apply_relocate_add
from tests.module.linking import link, module_file

NONE, ABS64, PC32, PLT32, ABS32, ABS32S, PC64 = 0, 1, 2, 4, 10, 11, 24
BASE = 0xFFFFFFFFC0000000
SECTION = BASE + 0x40
SYMBOL = 0xFFFFFFFF81234560
M64 = (1 << 64) - 1
COMPLAINTS = Complaints("m", lambda place: f"({place:x})")


def rela(kind: int, offset: int, addend: int = 0, symbol: int = 1) -> bytes:
    return struct.pack("<QIIq", offset, kind, symbol, addend)


def no_symbol(index: int) -> int:
    raise KernelWouldCrash(index, "no such symbol")


def apply(relas: bytes, value: int = SYMBOL, memory: bytearray | None = None) -> bytearray:
    memory = bytearray(0x100) if memory is None else memory
    target = Target(memoryview(memory), BASE, SECTION)
    apply_relocate_add(relas, target, SymbolValues([0, value], no_symbol), COMPLAINTS)
    return memory


def refusal(relas: bytes, value: int = SYMBOL, memory: bytearray | None = None) -> list[str]:
    with pytest.raises(LoadError) as error:
        apply(relas, value, memory)
    assert error.value.errno == 8
    return [f"<{level}>{line}" for level, line in error.value.dmesg]


def test_64() -> None:
    assert apply(rela(ABS64, 8, 0x10))[0x48:0x50] == (SYMBOL + 0x10).to_bytes(8, "little")


def test_64_wraps() -> None:
    assert apply(rela(ABS64, 8, 1), value=M64)[0x48:0x50] == bytes(8)


@pytest.mark.parametrize("kind", [PC32, PLT32])
def test_relative_32(kind: int) -> None:
    expected = (SYMBOL - 4 - (SECTION + 8)) % (1 << 32)
    assert apply(rela(kind, 8, -4))[0x48:0x4C] == expected.to_bytes(4, "little")


@pytest.mark.parametrize("kind", [PC32, PLT32])
def test_relative_32_is_cut_without_a_word(kind: int) -> None:
    """An undefined weak symbol is 0, far out of reach: nothing is said."""
    expected = (0 - (SECTION + 8)) % (1 << 32)
    assert apply(rela(kind, 8), value=0)[0x48:0x4C] == expected.to_bytes(4, "little")


def test_relative_64() -> None:
    expected = (SYMBOL - (SECTION + 8)) % (1 << 64)
    assert apply(rela(PC64, 8))[0x48:0x50] == expected.to_bytes(8, "little")


def test_32s_sign_extends() -> None:
    assert apply(rela(ABS32S, 0))[0x40:0x44] == (SYMBOL % (1 << 32)).to_bytes(4, "little")


def test_32_zero_extends() -> None:
    assert apply(rela(ABS32, 0), value=0xFFFFFFFF)[0x40:0x44] == b"\xff" * 4


def test_none_does_nothing() -> None:
    assert apply(rela(NONE, 1 << 60)) == bytearray(0x100)


@pytest.mark.parametrize(
    ("kind", "value"), [(ABS32, SYMBOL), (ABS32, 1 << 32), (ABS32S, 1 << 31), (ABS32S, -(1 << 31) - 1 & M64)]
)
def test_overflow(kind: int, value: int) -> None:
    assert refusal(rela(kind, 0), value) == [
        f"<3>module: overflow in relocation type {kind} val {value:x}",
        "<3>module: `m' likely not compiled with -mcmodel=kernel",
    ]


@pytest.mark.parametrize("value", [0, 0x7FFFFFFF, -(1 << 31) & M64, M64])
def test_what_just_fits_32s(value: int) -> None:
    apply(rela(ABS32S, 0), value)


@pytest.mark.parametrize("kind", [ABS64, PC32, PLT32, ABS32S, PC64])
def test_target_must_be_zero(kind: int) -> None:
    """The line shows S + A, before the place is subtracted."""
    memory = bytearray(0x100)
    memory[0x43] = 1
    assert refusal(rela(kind, 0, 7), memory=memory) == [
        "<3>module: x86/modules: Skipping invalid relocation target, existing value is nonzero "
        f"for type {kind}, loc ({SECTION:x}), val {SYMBOL + 7:x}"
    ]


def test_second_relocation_of_a_place_finds_it_nonzero() -> None:
    assert "existing value is nonzero for type 11" in refusal(rela(ABS64, 0) + rela(ABS32S, 0))[0]


def test_only_the_written_bytes_must_be_zero() -> None:
    memory = bytearray(0x100)
    memory[0x3F] = memory[0x44] = 0xAA
    assert apply(rela(ABS32S, 0), memory=memory)[0x44] == 0xAA


def test_overflow_is_found_after_the_nonzero_target() -> None:
    memory = bytearray(b"\1" * 0x100)
    assert "nonzero" in refusal(rela(ABS32, 0), SYMBOL, memory)[0]


@pytest.mark.parametrize("kind", [*sorted(set(range(48)) - set(KINDS)), 200, 0xFFFFFFFF])
def test_other_types_are_refused(kind: int) -> None:
    assert refusal(rela(kind, 0)) == [f"<3>module: m: Unknown rela relocation: {kind}"]


def test_first_bad_one_is_reported() -> None:
    assert "Unknown" in refusal(rela(ABS64, 0) + rela(3, 0) + rela(ABS64, 0))[0]


def test_place_may_lie_outside_of_its_section_but_in_the_region() -> None:
    """r_offset is unchecked: case ".init.data sh_size: 0x8 -> 0x7" loaded."""
    assert apply(rela(ABS64, -0x40 & M64))[:8] == SYMBOL.to_bytes(8, "little")


@pytest.mark.parametrize("offset", [0xC0 - 7, 0xC0, 1 << 32, -0x41 & M64])
def test_place_outside_of_the_region_faults_there(offset: int) -> None:
    with pytest.raises(KernelWouldCrash) as error:
        apply(rela(ABS64, offset))
    assert error.value.address == SECTION + offset & M64


def test_symbol_behind_the_table_is_whatever_lies_there() -> None:
    memory = bytearray(0x100)
    stray = SymbolValues([0], lambda index: 0x1000 * index)
    apply_relocate_add(
        rela(ABS64, 0, 1, symbol=3), Target(memoryview(memory), BASE, SECTION), stray, COMPLAINTS
    )
    assert memory[0x40:0x48] == (0x3001).to_bytes(8, "little")


def test_symbol_that_faults_does_so_before_the_type_is_refused() -> None:
    with pytest.raises(KernelWouldCrash):
        apply(rela(200, 0, symbol=9))


def test_partial_entry_at_the_end_is_ignored() -> None:
    """Case ".rela.gnu.linkonce.this_module sh_size: 0x30 -> 0x31" loaded."""
    assert apply(rela(ABS64, 0) + b"\xff" * 23) == apply(rela(ABS64, 0))


def test_counts_by_type() -> None:
    assert link(module_file("h_hello")).relocations == {
        "R_X86_64_PLT32": 4, "R_X86_64_32S": 2, "R_X86_64_64": 5, "R_X86_64_PC32": 5
    }  # fmt: skip


def test_names_of_the_types() -> None:
    assert KINDS[PC32].name == "R_X86_64_PC32"
    assert (KINDS[PC32].formula, KINDS[ABS64].formula) == ("S + A - P", "S + A")


@given(st.integers(0, M64), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 0xB8))
def test_64_of_any_value(value: int, addend: int, offset: int) -> None:
    memory = apply(rela(ABS64, offset, addend), value)
    assert int.from_bytes(memory[0x40 + offset : 0x48 + offset], "little") == (value + addend) % (1 << 64)
    assert sum(memory[: 0x40 + offset]) == sum(memory[0x48 + offset :]) == 0


@given(st.binary(max_size=96))
def test_hostile_relocations_never_escape(relas: bytes) -> None:
    try:
        apply(relas)
    except (LoadError, KernelWouldCrash):
        return
