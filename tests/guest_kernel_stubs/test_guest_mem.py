from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

blocks = st.binary(max_size=200)
offsets = st.integers(0, 9)


def sign(value: int) -> int:
    return (value > 0) - (value < 0)


@pytest.mark.parametrize("name", ["memcpy", "__memcpy", "memmove", "__memmove"])
@given(data=blocks, to=offsets, start=offsets)
def test_copies_exactly_the_bytes(machine: Guest, name: str, data: bytes, to: int, start: int) -> None:
    machine.reset()
    source, dest = machine.put(bytes(start) + data) + start, machine.put(b"\xa5" * (len(data) + 20)) + to

    assert machine.call(name, dest, source, len(data)) == dest
    assert machine.read(dest - 1, len(data) + 2) == b"\xa5" + data + b"\xa5"


@given(
    data=st.binary(min_size=1, max_size=200),
    to=st.integers(0, 199),
    start=st.integers(0, 199),
    size=st.integers(0, 199),
)
def test_memmove_overlapping(machine: Guest, data: bytes, to: int, start: int, size: int) -> None:
    machine.reset()
    size = min(size, len(data) - min(max(to, start), len(data)))
    to, start = min(to, len(data)), min(start, len(data))
    block = machine.put(data)
    wanted = bytearray(data)
    wanted[to : to + size] = data[start : start + size]

    machine.call("memmove", block + to, block + start, size)

    assert machine.read(block, len(data)) == wanted


@given(size=st.integers(0, 200), byte=st.integers(0, 511), to=offsets)
def test_memset(machine: Guest, size: int, byte: int, to: int) -> None:
    machine.reset()
    dest = machine.put(b"\xa5" * 220) + to

    assert machine.call("memset", dest, byte, size) == dest
    assert machine.read(dest - 1, size + 2) == b"\xa5" + bytes([byte & 255]) * size + b"\xa5"


@given(data=blocks, other=blocks, change=st.integers(0, 199))
def test_memcmp_is_the_difference_of_the_first_unequal_bytes(
    machine: Guest, data: bytes, other: bytes, change: int
) -> None:
    machine.reset()
    changed = bytearray(data)
    if change < len(data):
        changed[change] ^= 0x80
    for second in (bytes(changed), other):
        size = min(len(data), len(second))
        wanted = next((a - b for a, b in zip(data, second, strict=False) if a != b), 0)
        assert machine.call_int("memcmp", machine.put(data), machine.put(second), size) == wanted
        assert sign(machine.call_int("bcmp", machine.put(data), machine.put(second), size)) == sign(wanted)
        assert (machine.call("__crypto_memneq", machine.put(data), machine.put(second), size) != 0) == bool(
            wanted
        )


@given(data=blocks, byte=st.integers(0, 255))
def test_looking_for_a_byte(machine: Guest, data: bytes, byte: int) -> None:
    machine.reset()
    block = machine.put(data)
    at = data.find(byte)

    assert machine.call("memchr", block, byte, len(data)) == (block + at if at >= 0 else 0)
    assert machine.call("memscan", block, byte, len(data)) == block + (at if at >= 0 else len(data))


@given(size=st.integers(0, 100), byte=st.integers(0, 255), change=st.integers(0, 120), start=offsets)
def test_memchr_inv_finds_the_first_other_byte(
    machine: Guest, size: int, byte: int, change: int, start: int
) -> None:
    machine.reset()
    data = bytearray([byte]) * size
    if change < size:
        data[change] ^= 1
    block = machine.put(bytes(start) + data) + start

    assert machine.call("memchr_inv", block, byte, size) == (block + change if change < size else 0)


@given(data=blocks)
def test_memweight_counts_bits(machine: Guest, data: bytes) -> None:
    machine.reset()

    assert machine.call("memweight", machine.put(data), len(data)) == int.from_bytes(data).bit_count()


@given(a=blocks, b=blocks)
def test_crypto_xor(machine: Guest, a: bytes, b: bytes) -> None:
    machine.reset()
    size = min(len(a), len(b))
    dest = machine.put(bytes(size))

    machine.call("__crypto_xor", dest, machine.put(a), machine.put(b), size)

    assert machine.read(dest, size) == bytes(x ^ y for x, y in zip(a, b, strict=False))


@pytest.mark.parametrize(("room", "wanted"), [(8, b"abc" + b"----" + b"-"), (3, b"abc"), (2, b"ab")])
def test_memcpy_and_pad(guest: Guest, room: int, wanted: bytes) -> None:
    dest = guest.put(bytes(room))

    guest.call("memcpy_and_pad", dest, room, guest.put(b"abc"), 3, ord("-"))

    assert guest.read(dest, room + 1) == wanted + b"\xa5"
