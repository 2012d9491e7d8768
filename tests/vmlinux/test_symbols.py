"""A kernel's symbols in columns: what is found by name and by address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kernel.layout import START_KERNEL_MAP
from kmod_emu.vmlinux.symbols import ImageSymbols, pack

NAMES = st.binary(min_size=1, max_size=6).filter(lambda name: b"\n" not in name and name.isascii())
SYMBOLS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("tTdDaA"), NAMES), max_size=40)


def columns(rows):
    """From (address, type, name)."""
    rows = sorted(rows, key=lambda row: row[0])
    return ImageSymbols(pack([row[0] for row in rows], [row[1].encode() + row[2] for row in rows]))


@given(SYMBOLS)
def test_by_name_as_a_dictionary(rows):
    rows = [(START_KERNEL_MAP + address, kind, name) for address, kind, name in rows]
    first = {}
    for address, kind, name in sorted(rows, key=lambda row: row[0]):
        first.setdefault(name.decode(), (address, kind))
    symbols = columns(rows)
    assert dict(symbols.items()) == first == {name: symbols[name] for name in symbols}
    assert len(symbols) == len(first)
    with pytest.raises(KeyError):
        symbols["0123456"]


@given(SYMBOLS, st.integers(0, 41))
def test_by_address_the_last_that_begins_before(rows, offset):
    rows = [(START_KERNEL_MAP + address, kind, name) for address, kind, name in rows]
    places = sorted({address for address, kind, _ in rows if kind in "tTDA"})
    address = START_KERNEL_MAP + offset
    start, name, end = columns(rows).around(address)
    assert start == max((place for place in places if place <= address), default=0)
    assert end == min((place for place in places if place > address), default=0)
    assert not name if not start else name.encode() in {row[2] for row in rows if row[0] == start}


def test_what_names_an_address():
    code = START_KERNEL_MAP + 64
    rows = [(8, "D", b"percpu"), (code, "t", b"local"), (code, "T", b"seen"), (code, "t", b"other"),
            (code, "d", b"data"), (code + 16, "t", b"local")]  # fmt: skip
    symbols = columns(rows)
    assert symbols.around(code + 3) == (code, "seen", code + 16)
    assert symbols.around(code + 17) == (code + 16, "local", 0)  # static functions of many files share a name
    assert symbols["local"] == (code, "t")
    assert symbols.around(code - 1) == (0, "", code)
