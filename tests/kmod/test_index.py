"""The binary indexes: what goes in comes out, and what is no index is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.kmod.fnmatch import fnmatch
from kmod_emu.kmod.index import Index, build

KEYS = st.text(alphabet="ab:*?[]", max_size=6).map(str.encode)
ENTRIES = st.lists(st.tuples(KEYS, st.sampled_from([b"x", b"y", b""]), st.integers(0, 3)), max_size=12)


@given(ENTRIES)
def test_all_that_went_in_comes_out_in_order(entries):
    found = list(Index(build(entries)).entries())
    assert sorted(found) == sorted((key, value) for key, value, _ in entries)
    assert [key for key, _ in found] == sorted(key for key, _, _ in entries)


@given(ENTRIES, KEYS)
def test_a_search_finds_the_first_of_least_priority(entries, key):
    values = [(priority, -at, value) for at, (name, value, priority) in enumerate(entries) if name == key]
    assert Index(build(entries)).search(key) == (min(values)[2] if values else None)


@given(ENTRIES, st.text(alphabet="ab:", max_size=6).map(str.encode))
def test_a_wildcard_search_finds_what_matches(entries, key):
    found = Index(build(entries)).searchwild(key)
    assert sorted(found) == sorted(value for pattern, value, _ in entries if fnmatch(pattern, key))


def test_keys_that_begin_alike_may_be_long_and_many():
    keys = [b"a" * length for length in range(3000)]
    index = Index(build((key, b"v", 0) for key in keys))
    assert [key for key, _ in index.entries()] == keys
    assert index.search(keys[2999]) == b"v"


def test_only_ascii_can_be_indexed():
    with pytest.raises(ValueError, match="xc3"):
        build([("ä".encode(), b"v", 0)])


@given(st.binary(max_size=40))
def test_what_is_no_index(data):
    with pytest.raises(ValueError, match=r"short|index"):
        Index(data)


@given(ENTRIES, st.lists(st.tuples(st.integers(8, 200), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_index_ends_too(entries, changes):
    data = bytearray(build(entries))
    for at, byte in changes:
        data[at % len(data)] = byte
    try:
        index = Index(bytes(data))
        list(index.entries())
        index.search(b"ab")
        index.searchwild(b"ab")
    except ValueError:
        pass
