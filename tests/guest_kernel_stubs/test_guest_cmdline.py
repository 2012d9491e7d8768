"""Command lines, mount options, shell patterns."""

from __future__ import annotations

import fnmatch
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guest_kernel_stubs.guest_machine import Guest, signed

EINVAL, ERANGE = 22, 34


@pytest.mark.parametrize(
    ("text", "kind", "value", "rest"),
    [
        (b"", 0, None, b""),
        (b"x", 0, 0, b"x"),
        (b"12", 1, 12, b""),
        (b"0x10,5", 2, 16, b"5"),
        (b"-3,", 2, -3, b""),
        (b"2-6", 3, 2, b"-6"),
        (b"7k", 1, 7, b"k"),
    ],
)
def test_get_option(guest: Guest, text: bytes, kind: int, value: int | None, rest: bytes) -> None:
    cursor, result = guest.words(guest.text(text)), guest.put(b"\xa5" * 4)

    assert guest.call_int("get_option", cursor, result) == kind
    assert guest.string(guest.unpack("<Q", cursor)[0]) == rest
    assert guest.read(result, 4) == (b"\xa5" * 4 if value is None else struct.pack("<i", value))


@pytest.mark.parametrize(
    ("text", "room", "stored", "rest"),
    [
        (b"1,2,3", 8, [3, 1, 2, 3], b""),
        (b"1,2,3", 3, [2, 1, 2], b"3"),
        (b"5,2-4,9 x", 8, [5, 5, 2, 3, 4, 9], b" x"),
        (b"10-12", 8, [3, 10, 11, 12], b""),
        (b"5-3", 8, [0], b"3"),
        (b"7,1-3", 0, [4], b""),
    ],
)
def test_get_options(guest: Guest, text: bytes, room: int, stored: list[int], rest: bytes) -> None:
    values = guest.put(bytes(64))

    end = guest.call("get_options", guest.text(text), room, values)

    assert list(guest.unpack(f"<{len(stored)}i", values)) == stored
    assert guest.string(end) == rest


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        (b"64", 64, b""),
        (b"64K", 64 << 10, b""),
        (b"0x10m,", 16 << 20, b","),
        (b"1G", 1 << 30, b""),
        (b"2t", 2 << 40, b""),
        (b"1P@", 1 << 50, b"@"),
        (b"1E", 1 << 60, b""),
        (b"5x", 5, b"x"),
        (b"5\x0b", 5, b"\x0b"),
    ],
)
def test_memparse(guest: Guest, text: bytes, value: int, rest: bytes) -> None:
    end = guest.words(0)

    assert guest.call("memparse", guest.text(text), end) == value
    assert guest.string(guest.unpack("<Q", end)[0]) == rest


@pytest.mark.parametrize(
    ("text", "name", "value", "rest"),
    [
        (b"n=2 who=bob", b"n", b"2", b"who=bob"),
        (b"debug   x", b"debug", None, b"x"),
        (b'who="a b" x', b"who", b"a b", b"x"),
        (b'"who=a b" x', b"who", b"a b", b"x"),
        (b'who=a" "b x', b"who", b'a" "b', b"x"),
        (b"=5", b"=5", None, b""),
        (b"a=b=c", b"a", b"b=c", b""),
        (b"a=", b"a", b"", b""),
        (b'who="open end', b"who", b"open end", b""),
    ],
)
def test_next_arg(guest: Guest, text: bytes, name: bytes, value: bytes | None, rest: bytes) -> None:
    out = guest.words(0, 0)

    end = guest.call("next_arg", guest.text(text), out, out + 8)

    name_at, value_at = guest.unpack("<QQ", out)
    assert guest.string(name_at) == name
    assert (guest.string(value_at) if value_at else None) == value
    assert guest.string(end) == rest


def token_table(guest: Guest, *patterns: bytes) -> int:
    entries = b"".join(struct.pack("<i4xQ", i, guest.text(p)) for i, p in enumerate(patterns))
    return guest.put(entries + struct.pack("<i4xQ", 99, 0))


@pytest.mark.parametrize(
    ("text", "token", "args"),
    [
        (b"ro", 0, []),
        (b"uid=12", 1, [b"12"]),
        (b"uid=-0x1F", 1, [b"-0x1F"]),
        (b"name=bob", 2, [b"bob"]),
        (b"name=", 99, []),
        (b"mode=755", 3, [b"755"]),
        (b"7:abc%", 4, [b"7", b"abc"]),
        (b"uid=x", 99, []),
        (b"rot", 99, []),
        (b"t=abcdef", 99, [b"abc"]),
        (b"t=abc", 5, [b"abc"]),
    ],
)
def test_match_token(guest: Guest, text: bytes, token: int, args: list[bytes]) -> None:
    table = token_table(guest, b"ro", b"uid=%d", b"name=%s", b"mode=%o", b"%u:%3s%%", b"t=%3s")
    places = guest.put(bytes(48))

    assert guest.call_int("match_token", guest.text(text), table, places) == token
    for i, arg in enumerate(args):
        start, end = guest.unpack("<QQ", places + 16 * i)
        assert guest.read(start, end - start) == arg


@pytest.mark.parametrize(
    ("name", "text", "rc", "value"),
    [
        ("match_int", b"-12", 0, -12),
        ("match_int", b"0x10", 0, 16),
        ("match_int", b"2147483648", -ERANGE, 0),
        ("match_int", b"z", -EINVAL, 0),
        ("match_int", b"0" * 24, -ERANGE, 0),
        ("match_octal", b"755", 0, 0o755),
        ("match_hex", b"ff", 0, 255),
        ("match_uint", b"4294967295", 0, -1),
        ("match_uint", b"12x", -EINVAL, 0),
        ("match_u64", b"0x100", 0, 256),
    ],
)
def test_match_numbers(guest: Guest, name: str, text: bytes, rc: int, value: int) -> None:
    start, result = guest.text(text + b"tail"), guest.words(0)

    assert guest.call_int(name, guest.words(start, start + len(text)), result) == rc
    assert signed(guest.unpack("<Q", result)[0], 32) == value


@given(text=st.text(alphabet="ab", max_size=8), pattern=st.text(alphabet="ab*?", max_size=8))
def test_wildcards_match_as_in_the_shell(machine: Guest, text: str, pattern: str) -> None:
    machine.reset()
    wanted = fnmatch.fnmatchcase(text, pattern)
    p, s = machine.text(pattern.encode()), machine.text(text.encode())

    assert machine.call("glob_match", p, s) & 1 == wanted
    if "**" not in pattern:
        assert machine.call("match_wildcard", p, s) & 1 == wanted


def test_match_wildcard_does_not_see_through_two_stars_at_the_end(guest: Guest) -> None:
    assert not guest.call("match_wildcard", guest.text(b"a**"), guest.text(b"a")) & 1
    assert guest.call("match_wildcard", guest.text(b"a**"), guest.text(b"ab")) & 1


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        (b"[a-c]x", b"bx", True),
        (b"[!a-c]x", b"bx", False),
        (b"[]]", b"]", True),
        (b"[a-]", b"-", True),
        (b"[a", b"[a", True),
        (b"[", b"[", True),
        (b"\\*", b"*", True),
        (b"\\*", b"x", False),
        (b"*[0-9]", b"sda1", True),
        (b"?", b"", False),
    ],
)
def test_glob_classes(guest: Guest, pattern: bytes, text: bytes, wanted: bool) -> None:
    assert guest.call("glob_match", guest.text(pattern), guest.text(text)) & 1 == wanted
