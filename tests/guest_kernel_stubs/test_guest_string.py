from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicorn import UcError

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

few = st.text(alphabet="abAB, \t\n", max_size=24).map(str.encode)
strings = few | st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"x"))
counts = st.integers(0, 45)
E2BIG, EINVAL = 7, 22
SPACES = b" \t\n\v\f\r\xa0"


def order(a: bytes, b: bytes) -> int:
    return (a > b) - (a < b)


@given(text=strings, count=counts)
def test_lengths(machine: Guest, text: bytes, count: int) -> None:
    machine.reset()
    s = machine.text(text)

    assert machine.call("strlen", s) == len(text)
    assert machine.call("strnlen", s, count) == min(count, len(text))


@given(a=strings, b=strings, count=counts)
def test_comparisons_are_minus_one_zero_or_one(machine: Guest, a: bytes, b: bytes, count: int) -> None:
    machine.reset()
    p, q = machine.text(a), machine.text(b)

    assert machine.call_int("strcmp", p, q) == order(a, b)
    assert machine.call_int("strncmp", p, q, count) == order(a[:count], b[:count])


def test_strncmp_stops_at_the_end_of_both(guest: Guest) -> None:
    assert guest.call_int("strncmp", guest.put(b"ab\0x"), guest.put(b"ab\0y"), 4) == 0


@given(a=few, b=few)
def test_comparisons_without_case(machine: Guest, a: bytes, b: bytes) -> None:
    machine.reset()
    p, q = machine.text(a), machine.text(b)
    wanted = order(a.lower(), b.lower())

    for result in (machine.call_int("strcasecmp", p, q), machine.call_int("strncasecmp", p, q, 100)):
        assert (result > 0) - (result < 0) == wanted


def test_strncasecmp_gives_the_written_case_where_one_string_ends(guest: Guest) -> None:
    a, empty = guest.text(b"A"), guest.text(b"")

    assert guest.call_int("strncasecmp", a, empty, 5) == ord("A")
    assert guest.call_int("strcasecmp", a, empty) == ord("a")
    assert guest.call_int("strncasecmp", a, empty, 0) == 0


@given(text=strings, char=st.sampled_from(b"aB,\x80\0"), count=counts)
def test_looking_for_a_character(machine: Guest, text: bytes, char: int, count: int) -> None:
    machine.reset()
    s = machine.text(text)
    whole = text + b"\0"

    def found(at: int) -> int:
        return s + at if at >= 0 else 0

    assert machine.call("strchr", s, char) == found(whole.find(char))
    assert machine.call("strrchr", s, char) == found(whole.rfind(char))
    assert machine.call("strnchr", s, count, char) == found(whole[:count].find(char))
    assert machine.call("strchrnul", s, char) == s + (text.find(char) if char and char in text else len(text))


@given(text=few, chars=few)
def test_spans(machine: Guest, text: bytes, chars: bytes) -> None:
    machine.reset()
    s, c = machine.text(text), machine.text(chars)
    inside = next((i for i, ch in enumerate(text) if ch not in chars), len(text))
    outside = next((i for i, ch in enumerate(text) if ch in chars), len(text))

    assert machine.call("strspn", s, c) == inside
    assert machine.call("strcspn", s, c) == outside
    assert machine.call("strpbrk", s, c) == (s + outside if outside < len(text) else 0)


@given(text=few, wanted=st.text(alphabet="ab", max_size=3).map(str.encode), count=counts)
def test_looking_for_a_string(machine: Guest, text: bytes, wanted: bytes, count: int) -> None:
    machine.reset()
    s, w = machine.text(text), machine.text(wanted)
    at = text.find(wanted)
    at_most = text[:count].find(wanted)

    assert machine.call("strstr", s, w) == (s + at if at >= 0 else 0)
    assert machine.call("strnstr", s, w, min(count, len(text))) == (s + at_most if at_most >= 0 else 0)


@given(text=few)
def test_strsep_splits_and_ends_with_null(machine: Guest, text: bytes) -> None:
    machine.reset()
    cursor, delimiters = machine.words(machine.text(text)), machine.text(b", ")
    tokens = []
    while token := machine.call("strsep", cursor, delimiters):
        tokens.append(machine.string(token))

    assert tokens == text.replace(b" ", b",").split(b",")
    assert machine.unpack("<Q", cursor) == (0,)


@given(text=strings, size=st.integers(1, 45))
def test_copies_that_end_with_nul(machine: Guest, text: bytes, size: int) -> None:
    machine.reset()
    s, cut = machine.text(text), text[: size - 1]
    whole, limited, scpy, padded = (machine.put(b"\xa5" * 60) for _ in range(4))
    fits = len(text) if len(text) < size else -E2BIG

    assert machine.call("strcpy", whole, s) == whole
    assert machine.call("strlcpy", limited, s, size) == len(text)
    assert machine.call_int("strscpy", scpy, s, size) == fits
    assert machine.call_int("strscpy_pad", padded, s, size) == fits
    assert machine.read(whole, len(text) + 2) == text + b"\0\xa5"
    assert machine.read(limited, len(cut) + 2) == cut + b"\0\xa5"
    assert machine.string(scpy) == cut
    assert machine.read(scpy + size, 1) == b"\xa5"
    assert machine.read(padded, size + 1) == cut.ljust(size, b"\0") + b"\xa5"


@given(text=strings, count=counts)
def test_strncpy_fills_with_zeros_and_may_leave_no_nul(machine: Guest, text: bytes, count: int) -> None:
    machine.reset()
    dest = machine.put(b"\xa5" * 60)

    machine.call("strncpy", dest, machine.text(text), count)

    assert machine.read(dest, count + 1) == text[:count].ljust(count, b"\0") + b"\xa5"


def test_strscpy_stores_the_word_that_holds_the_nul_whole(guest: Guest) -> None:
    """Up to seven bytes behind the NUL become zero where eight still fit, none where they do not."""
    source = guest.text(b"abc")
    dest = guest.put(b"\xa5" * 32)
    guest.call("strscpy", dest, source, 32)
    assert guest.read(dest, 9) == b"abc\0\0\0\0\0\xa5"

    dest = guest.put(b"\xa5" * 32)
    guest.call("strscpy", dest, source, 7)
    assert guest.read(dest, 8) == b"abc\0\xa5\xa5\xa5\xa5"


@pytest.mark.parametrize("size", [0, 1 << 31])
def test_strscpy_refuses_no_room_and_sizes_that_are_negative_ints(guest: Guest, size: int) -> None:
    dest = guest.put(b"unchanged")

    assert guest.call_int("strscpy", dest, guest.text(b"x"), size) == -E2BIG
    assert guest.read(dest, 9) == b"unchanged"


@given(a=few, b=few, count=counts)
def test_concatenations(machine: Guest, a: bytes, b: bytes, count: int) -> None:
    machine.reset()
    one, some, limited = (machine.put(a + b"\0" + b"\xa5" * 60) for _ in range(3))
    other = machine.text(b)
    size = len(a) + 1 + count

    assert machine.call("strcat", one, other) == one
    assert machine.call("strncat", some, other, count) == some
    assert machine.call("strlcat", limited, other, size) == len(a) + len(b)
    assert machine.string(one) == a + b
    assert machine.string(some) == a + b[:count]
    assert machine.string(limited) == (a + b)[: size - 1]


@given(text=few)
def test_spaces(machine: Guest, text: bytes) -> None:
    machine.reset()
    s = machine.text(text)

    assert machine.string(machine.call("skip_spaces", s)) == text.lstrip(SPACES)
    assert machine.string(machine.call("strim", s)) == text.strip(SPACES)


def test_no_break_space_is_a_space(guest: Guest) -> None:
    assert guest.string(guest.call("strim", guest.text(b"\xa0 x \xa0"))) == b"x"


def test_strreplace_returns_the_end(guest: Guest) -> None:
    s = guest.text(b"a/b/c")

    assert guest.call("strreplace", s, ord("/"), ord("!")) == s + 5
    assert guest.string(s) == b"a!b!c"


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (b"on", b"on", True),
        (b"on\n", b"on", True),
        (b"on", b"on\n", True),
        (b"on\n", b"on\n", True),
        (b"", b"\n", True),
        (b"on\n\n", b"on", False),
        (b"on", b"off", False),
        (b"on\nx", b"on", False),
        (b"on", b"o", False),
    ],
)
def test_sysfs_streq_ignores_one_final_newline(guest: Guest, a: bytes, b: bytes, equal: bool) -> None:
    assert guest.call("sysfs_streq", guest.text(a), guest.text(b)) & 0xFF == equal


@pytest.mark.parametrize(
    ("n", "word", "wanted"), [(3, b"two", 1), (1, b"two", -EINVAL), (9, b"nine", -EINVAL)]
)
def test_match_string_stops_at_the_count_or_at_null(guest: Guest, n: int, word: bytes, wanted: int) -> None:
    array = guest.words(*(guest.text(text) for text in (b"one", b"two", b"three")), 0)

    assert guest.call_int("match_string", array, n, guest.text(word)) == wanted
    assert guest.call_int("__sysfs_match_string", array, n, guest.text(word + b"\n")) == wanted


@pytest.mark.parametrize(
    ("text", "flags", "size", "wanted"),
    [
        (rb"a\tb\n", 1, 0, b"a\tb\n"),
        (rb"\101\7\400", 2, 0, b"A\x07\x200"),
        (rb"\x41\xfz", 4, 0, b"A\x0fz"),
        (rb"\\\"\e\a", 8, 0, b'\\"\x1b\x07'),
        (rb"\q\n", 4, 0, rb"\q\n"),
        (rb"\n\n", 1, 3, b"\n"),
        (rb"\n\n", 1, 4, b"\n\\"),
        (b"abcdef", 15, 4, b"abc"),
        (b"end\\", 15, 0, b"end\\"),
    ],
)
def test_string_unescape(guest: Guest, text: bytes, flags: int, size: int, wanted: bytes) -> None:
    dest = guest.put(bytes(40))

    assert guest.call_int("string_unescape", guest.text(text), dest, size, flags) == len(wanted)
    assert guest.string(dest) == wanted


def test_ctype_classifies_latin1(guest: Guest) -> None:
    table = guest.read(guest.address("_ctype"), 256)
    for code, classes in enumerate(table):
        char = bytes([code])
        if code < 128:
            assert bool(classes & 1) == char.isupper()
            assert bool(classes & 2) == char.islower()
            assert bool(classes & 4) == char.isdigit()
            assert bool(classes & 8) == (code < 32 or code == 127)
            assert bool(classes & 0x20) == char.isspace()
            assert bool(classes & 0x44) == (char in b"0123456789abcdefABCDEF")
            assert bool(classes & 0x80) == (char == b" ")
            assert bool(classes & 0x10) == (32 < code < 127 and not char.isalnum())
        else:
            letter = chr(code)
            assert bool(classes & 1) == (code >= 0xC0 and letter.isupper())
            assert bool(classes & 2) == (code >= 0xC0 and letter.islower())
            assert bool(classes & 0x20) == (code == 0xA0)
    assert struct.unpack_from("<B", table, ord("F")) == (0x41,)


def test_strlcat_to_what_is_no_string_of_that_size_is_a_bug(guest: Guest) -> None:
    dest = guest.text(b"abcdef")

    with pytest.raises(UcError, match=r"Invalid instruction|exception"):
        guest.call("strlcat", dest, guest.text(b"x"), 3)
    assert guest.string(dest) == b"abcdef"
