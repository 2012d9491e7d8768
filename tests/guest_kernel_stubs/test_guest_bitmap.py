from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

EINVAL, ERANGE, EOVERFLOW, EBUSY, ENOMEM = 22, 34, 75, 16, 12
SIZE = 256
sizes = st.integers(1, 200)
maps = st.integers(0, 2**SIZE - 1) | st.sampled_from([0, 1, 2**SIZE - 1, 1 << 63, 1 << 64, 1 << 199])


def put_map(guest: Guest, bits: int) -> int:
    return guest.put(bits.to_bytes(SIZE // 8, "little"))


def get_map(guest: Guest, address: int, nbits: int = SIZE) -> int:
    return int.from_bytes(guest.read(address, SIZE // 8), "little") & ((1 << nbits) - 1)


def first(bits: int, size: int, start: int = 0) -> int:
    return next((i for i in range(start, size) if bits >> i & 1), size)


@given(a=maps, b=maps, n=sizes)
def test_operations(machine: Guest, a: int, b: int, n: int) -> None:
    machine.reset()
    p, q, dst = put_map(machine, a), put_map(machine, b), put_map(machine, 0)
    mask = (1 << n) - 1

    for name, wanted in (
        ("__bitmap_and", a & b),
        ("__bitmap_or", a | b),
        ("__bitmap_xor", a ^ b),
        ("__bitmap_andnot", a & ~b),
    ):
        result = machine.call(name, dst, p, q, n) & 0xFF
        assert get_map(machine, dst, n) == wanted & mask, name
        if "and" in name:
            assert result == bool(wanted & mask)
    machine.call("__bitmap_complement", dst, p, n)
    assert get_map(machine, dst, n) == ~a & mask
    machine.call("__bitmap_replace", dst, p, q, put_map(machine, a ^ b >> 1), n)
    chosen = a ^ b >> 1
    assert get_map(machine, dst, n) == (a & ~chosen | b & chosen) & mask
    assert machine.call("__bitmap_weighted_or", dst, p, q, n) == ((a | b) & mask).bit_count()
    assert machine.call("__bitmap_weighted_xor", dst, p, q, n) == ((a ^ b) & mask).bit_count()


@given(a=maps, b=maps, n=sizes)
def test_questions(machine: Guest, a: int, b: int, n: int) -> None:
    machine.reset()
    mask = (1 << n) - 1
    union = put_map(machine, (a | b) & mask)
    for x, y in ((a, b), (a, a), (a & b, b), (a, ~a & mask), (a, a ^ (1 << n))):
        p, q = put_map(machine, x), put_map(machine, y % 2**SIZE)
        assert machine.call("__bitmap_equal", p, q, n) & 0xFF == (x & mask == y & mask)
        assert machine.call("__bitmap_intersects", p, q, n) & 0xFF == bool(x & y & mask)
        assert machine.call("__bitmap_subset", p, q, n) & 0xFF == (not x & ~y & mask)
        assert machine.call("__bitmap_or_equal", p, q, union, n) & 0xFF == ((x | y) & mask == (a | b) & mask)
        assert machine.call("__bitmap_weight", p, n) == (x & mask).bit_count()
        assert machine.call("__bitmap_weight_and", p, q, n) == (x & y & mask).bit_count()
        assert machine.call("__bitmap_weight_andnot", p, q, n) == (x & ~y & mask).bit_count()


@given(a=maps, start=st.integers(0, 150), length=st.integers(0, 100))
def test_set_and_clear(machine: Guest, a: int, start: int, length: int) -> None:
    machine.reset()
    p, run = put_map(machine, a), ((1 << length) - 1) << start

    machine.call("__bitmap_set", p, start, length)
    assert get_map(machine, p) == a | run
    machine.call("__bitmap_clear", p, start, length)
    assert get_map(machine, p) == a & ~run


@given(a=maps, n=sizes, data=st.data())
def test_shifts_and_cut(machine: Guest, a: int, n: int, data: st.DataObject) -> None:
    machine.reset()
    shift = data.draw(st.integers(0, n - 1))
    begin = data.draw(st.integers(0, n - 1))
    p, dst, mask = put_map(machine, a), put_map(machine, 0), (1 << n) - 1

    machine.call("__bitmap_shift_left", dst, p, shift, n)
    assert get_map(machine, dst, n) == a << shift & mask
    machine.call("__bitmap_shift_right", dst, p, shift, n)
    assert get_map(machine, dst, n) == (a & mask) >> shift
    cut = data.draw(st.integers(0, n - begin))
    whole = (1 << -(-n // 64) * 64) - 1  # bits up to the end of the last word move
    low = (1 << begin) - 1
    machine.call("bitmap_cut", dst, p, begin, cut, n)
    assert get_map(machine, dst, n) == (a & low | (a & whole) >> cut & ~low) & mask


@given(a=maps, b=maps, c=maps, n=sizes, start=st.integers(0, 220))
def test_finding(machine: Guest, a: int, b: int, c: int, n: int, start: int) -> None:
    machine.reset()
    p, q, r = (put_map(machine, bits) for bits in (a, b, c))
    mask = (1 << n) - 1
    one = {"bit": a, "zero_bit": ~a}
    two = {"and_bit": a & b, "andnot_bit": a & ~b}

    for name, bits in one.items():
        assert machine.call(f"_find_first_{name}", p, n) == first(bits, n)
        assert machine.call(f"_find_next_{name}", p, n, start) == min(n, first(bits, n, start))
        assert machine.call(f"find_next_{name}", p, n, start) == min(n, first(bits, n, start))
    for name, bits in two.items():
        assert machine.call(f"_find_first_{name}", p, q, n) == first(bits, n)
    for name, bits in {**two, "or_bit": a | b}.items():
        assert machine.call(f"_find_next_{name}", p, q, n, start) == min(n, first(bits, n, start))
    assert machine.call("_find_first_and_and_bit", p, q, r, n) == first(a & b & c, n)
    assert machine.call("_find_last_bit", p, n) == ((a & mask).bit_length() - 1 if a & mask else n)


def test_find_next_clump8(guest: Guest) -> None:
    p, clump = put_map(guest, 0x5A << 72), guest.words(0)

    assert guest.call("find_next_clump8", clump, p, 128, 0) == 72
    assert guest.unpack("<Q", clump) == (0x5A,)
    assert guest.call("find_next_clump8", clump, p, 128, 80) == 128


@given(
    a=maps,
    start=st.integers(0, 60),
    nr=st.integers(1, 20),
    align=st.sampled_from([0, 1, 7]),
    offset=st.integers(0, 3),
)
def test_zero_areas(machine: Guest, a: int, start: int, nr: int, align: int, offset: int) -> None:
    machine.reset()
    size = 150
    found = machine.call(
        "bitmap_find_next_zero_area_off", put_map(machine, a), size, start, nr, align, offset
    )
    fits = [
        i for i in range(start, size - nr + 1) if not (i + offset) & align and not a >> i & ((1 << nr) - 1)
    ]

    assert found == fits[0] if fits else found > size - nr


def test_regions(guest: Guest) -> None:
    p = put_map(guest, 0b1)

    assert guest.call_int("bitmap_find_free_region", p, 16, 2) == 4
    assert guest.call_int("bitmap_allocate_region", p, 4, 1) == -EBUSY
    guest.call("bitmap_release_region", p, 4, 1)
    assert guest.call_int("bitmap_allocate_region", p, 4, 1) == 0
    assert get_map(guest, p) == 0b11110001
    assert guest.call_int("bitmap_find_free_region", p, 8, 2) == -ENOMEM


@given(src=maps, old=maps, new=maps, n=sizes)
def test_remap(machine: Guest, src: int, old: int, new: int, n: int) -> None:
    machine.reset()
    olds = [i for i in range(n) if old >> i & 1]
    news = [i for i in range(n) if new >> i & 1]
    moved = {bit: news[i % len(news)] for i, bit in enumerate(olds)} if news else {}
    dst, o, w = put_map(machine, 0), put_map(machine, old), put_map(machine, new)

    machine.call("bitmap_remap", dst, put_map(machine, src), o, w, n)

    assert get_map(machine, dst) == sum({1 << moved.get(i, i) for i in range(n) if src >> i & 1})
    assert [machine.call_int("bitmap_bitremap", i, o, w, n) for i in (0, n - 1)] == [
        moved.get(i, i) for i in (0, n - 1)
    ]


@given(a=maps, n=sizes)
def test_arrays_of_32_bits(machine: Guest, a: int, n: int) -> None:
    machine.reset()
    dst, array = put_map(machine, 0), machine.put(b"\xa5" * 40)
    halves = -(-n // 32)

    machine.call("bitmap_from_arr32", dst, put_map(machine, a), n)
    assert get_map(machine, dst, -(-n // 64) * 64) == a & ((1 << n) - 1)
    machine.call("bitmap_to_arr32", array, put_map(machine, a), n)
    assert (
        machine.read(array, 4 * halves + 1) == (a & ((1 << n) - 1)).to_bytes(4 * halves, "little") + b"\xa5"
    )


@pytest.mark.parametrize(
    ("text", "rc", "bits"),
    [
        (b"0-3,7", 0, {0, 1, 2, 3, 7}),
        (b" 1 , 5\n", 0, {1, 5}),
        (b"0-15:2/8", 0, {0, 1, 8, 9}),
        (b"all:1/32", 0, {0, 32, 64}),
        (b"N", 0, {95}),
        (b"94-N", 0, {94, 95}),
        (b"", 0, set()),
        (b"3\n5", 0, {3}),
        (b"0-3:1/2\n5", 0, {0, 2, 5}),
        (b"96", -ERANGE, set()),
        (b"5-3", -EINVAL, set()),
        (b"1-", -EINVAL, set()),
        (b"x", -EINVAL, set()),
        (b"0-7:3/2", -EINVAL, set()),
        (b"99999999999", -EOVERFLOW, set()),
    ],
)
def test_bitmap_parselist(guest: Guest, text: bytes, rc: int, bits: set[int]) -> None:
    dst = put_map(guest, (1 << 96) - 1)

    assert guest.call_int("bitmap_parselist", guest.text(text), dst, 96) == rc
    if rc == 0:
        assert get_map(guest, dst, 96) == sum(1 << bit for bit in bits)


@pytest.mark.parametrize(
    ("text", "rc", "bits"),
    [
        (b"ff", 0, 0xFF),
        (b"1,00000002", 0, 0x1_00000002),
        (b"1 2\n", 0, 0x1_00000002),
        (b"", 0, 0),
        (b"10,0,0", 0, 0x10 << 64),
        (b"1,0,0,0", -EOVERFLOW, 0),
        (b"123456789", -EOVERFLOW, 0),
        (b"xyz", -EINVAL, 0),
    ],
)
def test_bitmap_parse(guest: Guest, text: bytes, rc: int, bits: int) -> None:
    dst = put_map(guest, (1 << 96) - 1)

    assert guest.call_int("bitmap_parse", guest.text(text), len(text), dst, 80) == rc
    if rc == 0:
        assert get_map(guest, dst, 80) == bits


def test_maps_are_little_endian_words(guest: Guest) -> None:
    assert guest.unpack("<Q", put_map(guest, 5)) == struct.unpack("<Q", b"\5" + bytes(7))
