from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

POISON = b"\xa5"


def sscanf(guest: Guest, text: bytes, fmt: bytes, count: int) -> tuple[int, list[bytes]]:
    """The result, and 16 bytes of what each of `count` pointers received."""
    outputs = [guest.put(POISON * 16) for _ in range(count)]
    stored = guest.call_int("sscanf", guest.text(text), guest.text(fmt), *outputs)
    return stored, [guest.read(output, 16) for output in outputs]


@pytest.mark.parametrize(
    ("text", "fmt", "count", "values"),
    [
        (b"12 -7", b"%d %d", 2, [12, -7]),
        (b"12-7", b"%d%d", 2, [12, -7]),
        (b"0x1f 010 9", b"%i %i %i", 3, [31, 8, 9]),
        (b"ff,FF,0x10", b"%x,%X,%x", 3, [255, 255, 16]),
        (b"17", b"%o", 1, [15]),
        (b"  5", b"%u", 1, [5]),
        (b"5\t\n 6", b"%d %d", 2, [5, 6]),
        (b"1234", b"%2d%2d", 2, [12, 34]),
        (b"-123", b"%2d%d", 2, [-1, 23]),
        (b"-5", b"%1d", 0, []),
        (b"0x12", b"%2x%d", 2, [0, 12]),
        (b"a=1 b=2", b"a=%d b=%d", 2, [1, 2]),
        (b"a=1 c=2", b"a=%d b=%d", 1, [1]),
        (b"50%", b"%d%%", 1, [50]),
        (b"skip 7", b"%*s %d", 1, [7]),
        (b"x", b"%d", 0, []),
        (b"-5", b"%u", 0, []),
        (b"", b"%d", 0, []),
        (b"1", b"%0d", 0, []),
        (b"1", b"%q", 0, []),
        (b"4294967297", b"%d", 1, [1]),
        (b"8", b"%o", 0, []),
    ],
)
def test_numbers(guest: Guest, text: bytes, fmt: bytes, count: int, values: list[int]) -> None:
    stored, outputs = sscanf(guest, text, fmt, 3)

    assert stored == count
    assert [struct.unpack_from("<i", output)[0] for output in outputs[:count]] == values
    assert all(output == POISON * 16 for output in outputs[count:])


@pytest.mark.parametrize(
    ("size", "width"), [(b"hh", 1), (b"h", 2), (b"", 4), (b"l", 8), (b"ll", 8), (b"L", 8), (b"z", 8)]
)
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_sizes_store_only_their_bytes(machine: Guest, size: bytes, width: int, value: int) -> None:
    machine.reset()

    stored, (output,) = sscanf(machine, b"%d" % value, b"%" + size + b"d", 1)

    assert stored == 1
    assert output == (value % 2**64).to_bytes(8, "little")[:width] + POISON * (16 - width)


@pytest.mark.parametrize(
    ("text", "fmt", "count", "words"),
    [
        (b" one two", b"%s %s", 2, [b"one", b"two"]),
        (b"abcdef", b"%3s%s", 2, [b"abc", b"def"]),
        (b"abc123", b"%8[abc]%s", 2, [b"abc", b"123"]),
        (b"key:value", b"%8[^:]:%s", 2, [b"key", b"value"]),
        (b"abc", b"%[abc]", 0, []),
        (b"xyz", b"%3[abc]", 0, []),
        (b"abc", b"%3[]", 0, []),
        (b"1 one", b"%*d %s", 1, [b"one"]),
        (b"ab x", b"%*[ab] %s", 0, []),
    ],
)
def test_words_and_sets(guest: Guest, text: bytes, fmt: bytes, count: int, words: list[bytes]) -> None:
    stored, outputs = sscanf(guest, text, fmt, 2)

    assert stored == count
    assert [output.split(b"\0")[0] for output in outputs[:count]] == words


def test_chars_get_no_nul(guest: Guest) -> None:
    stored, (one, three) = sscanf(guest, b" bcd", b"%c%3c", 2)

    assert stored == 2
    assert (one, three) == (b" " + POISON * 15, b"bcd" + POISON * 13)


def test_n_tells_the_position_and_does_not_count(guest: Guest) -> None:
    stored, (number, position) = sscanf(guest, b"123", b"%d%n", 2)

    assert stored == 1
    assert struct.unpack_from("<i", position) == (3,)
    assert struct.unpack_from("<i", number) == (123,)


def test_more_arguments_than_registers(guest: Guest) -> None:
    stored, outputs = sscanf(guest, b"1 2 3 4 5 6", b"%d %d %d %d %d %d", 6)

    assert stored == 6
    assert [struct.unpack_from("<i", output)[0] for output in outputs] == [1, 2, 3, 4, 5, 6]
