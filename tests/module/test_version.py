"""Symbol versions and version magic (SPEC A4)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module.version import Match, Versions, same_magic
from tests.module.linking import checked, module_file

KERNEL = "6.1.0-56-amd64 SMP preempt mod_unload modversions "


def entry(name: bytes, crc: int) -> bytes:
    return struct.pack("<Q56s", crc, name)


def versions_of(name: str) -> Versions:
    image = checked(module_file(name))
    return Versions(image.contents(image.sections[image.versions]))


def crc_of(name: str) -> int:
    image = checked(module_file("h_hello"))
    table = image.contents(image.sections[image.versions])
    entries = {
        e[8:].rstrip(b"\0").decode(): int.from_bytes(e[:8], "little")
        for e in (table[i : i + 64] for i in range(0, len(table), 64))
    }
    return entries[name]


@pytest.mark.parametrize(
    ("module", "symbol", "match"),
    [("h_hello", "module_layout", Match.GOOD), ("h_hello", "_printk", Match.GOOD),
     ("crc_layout", "module_layout", Match.DIFFERS), ("crc_printk", "_printk", Match.DIFFERS),
     ("crc_missing", "_printk", Match.MISSING)],
)  # fmt: skip
def test_recorded_modules(module: str, symbol: str, match: Match) -> None:
    assert versions_of(module).check(symbol, crc_of(symbol)) is match


def test_no_section_is_not_an_empty_one() -> None:
    """Without `__versions` the load is forced; with an empty one it fails (case sec_versions_zero)."""
    assert not Versions(None).present
    assert Versions(b"").present
    assert Versions(b"").check("module_layout", 1) is Match.MISSING


def test_first_entry_counts() -> None:
    versions = Versions(entry(b"f", 1) + entry(b"f", 2))
    assert (versions.check("f", 1), versions.check("f", 2)) == (Match.GOOD, Match.DIFFERS)


def test_crc_in_the_file_has_64_bits() -> None:
    assert Versions(entry(b"f", 1 << 32 | 5)).check("f", 5) is Match.DIFFERS


def test_names_are_compared_whole() -> None:
    versions = Versions(entry(b"kmalloc_trace", 7))
    assert versions.check("kmalloc", 7) is versions.check("kmalloc_trace_x", 7) is Match.MISSING


def test_partial_entry_is_ignored() -> None:
    """Case "__versions sh_size: 0x100 -> 0x140", whose rest is no entry, loaded."""
    assert Versions(entry(b"f", 1)[:63]).check("f", 1) is Match.MISSING
    assert Versions(entry(b"f", 1) + entry(b"g", 1)[:40]).check("f", 1) is Match.GOOD


@given(st.binary(max_size=200), st.text(max_size=5))
def test_any_section_gives_an_answer(data: bytes, name: str) -> None:
    expected = Match.MISSING
    for start in range(0, len(data) - 63, 64):
        if data[start + 8 : start + 64].partition(b"\0")[0] == name.encode():
            expected = Match.GOOD if data[start : start + 8] == bytes(8) else Match.DIFFERS
            break
    assert Versions(data).check(name, 0) is expected


@pytest.mark.parametrize(
    ("vermagic", "with_crcs", "same"),
    [(KERNEL, True, True), (KERNEL, False, True),
     ("6.1.0-99-amd64 SMP preempt mod_unload modversions ", True, True),
     ("6.1.0-99-amd64 SMP preempt mod_unload modversions ", False, False),
     ("6.1.0-56-amd64 SMP mod_unload modversions ", True, False),
     ("6.1.0-56-amd64 SMP preempt mod_unload modversions", True, False),
     ("6.1.0-56-amd64 SMP preempt mod_unload modversions X", True, False),
     ("6.1.0-56-amd64", True, False), ("", True, False)],
)  # fmt: skip
def test_same_magic(vermagic: str, with_crcs: bool, same: bool) -> None:
    assert same_magic(vermagic, KERNEL, with_crcs) is same
