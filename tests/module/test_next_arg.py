"""Splitting the parameter string (SPEC A8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module.next_arg import arguments, parameq


def split(text: bytes) -> list[tuple[bytes, bytes | None]]:
    return [(argument.name, argument.value) for argument in arguments(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b" \t\n ", []),
        (b"n=1", [(b"n", b"1")]),
        (b"  n=1   m=2 ", [(b"n", b"1"), (b"m", b"2")]),
        (b"n=1\tm=2\nk=3", [(b"n", b"1"), (b"m", b"2"), (b"k", b"3")]),
        (b"flag", [(b"flag", None)]),
        (b"n=", [(b"n", b"")]),
        # quotes
        (b'who="a b" x=1', [(b"who", b"a b"), (b"x", b"1")]),
        (b'"who=a b" x=1', [(b"who", b"a b"), (b"x", b"1")]),
        (b'who="a b', [(b"who", b"a b")]),
        (b'who=a"b c"d', [(b"who", b'a"b c"d')]),
        (b'who=""', [(b"who", b"")]),
        (b'who="', [(b"who", b"")]),
        (b'"flag x"', [(b"flag x", None)]),
        (b'"', [(b"", None)]),
        (b'who=a"', [(b"who", b'a"')]),
        (b'"who="a" b"', [(b"who", b'a" b')]),
        # equals signs
        (b"n=a=b", [(b"n", b"a=b")]),
        (b"n==5", [(b"n", b"=5")]),
        (b"=5", [(b"=5", None)]),
        (b"==5", [(b"=", b"5")]),
        # a no-break space is a space to the kernel's isspace(), which is Latin-1
        (b"n=1\xa0m=2", [(b"n", b"1"), (b"m", b"2")]),
        (b"n=\xe9\xff", [(b"n", b"\xe9\xff")]),
    ],
)
def test_split(text: bytes, expected: list[tuple[bytes, bytes | None]]) -> None:
    assert split(text) == expected


def test_rest_is_what_dashes_leave() -> None:
    second = list(arguments(b"n=1 --   m=2 k"))[1]
    assert (second.name, second.value, second.rest) == (b"--", None, b"m=2 k")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (b"a-b", b"a_b", True),
        (b"a_b", b"a-b", True),
        (b"a", b"ab", False),
        (b"", b"", True),
        (b"A", b"a", False),
    ],
)
def test_names_compare_dash_like_underscore(one: bytes, other: bytes, equal: bool) -> None:
    assert parameq(one, other) is equal


def next_arg(args: bytearray, start: int) -> tuple[bytes, bytes | None, int]:
    """lib/cmdline.c's algorithm as SPEC A8 tells it, on a NUL-terminated buffer that it cuts in place."""

    def string(position: int) -> bytes:
        return bytes(args[position : args.index(0, position)])

    quoted = args[start] == ord('"')
    start += quoted
    end, equals, in_quote = start, 0, quoted
    while args[end] and (in_quote or chr(args[end]) not in " \t\n\v\f\r\xa0"):
        if not equals and args[end] == ord("=") and end > start:
            equals = end
        in_quote ^= args[end] == ord('"')
        end += 1
    value = None
    if equals:
        args[equals] = 0
        value = equals + 1
        if args[value] == ord('"'):
            value += 1
            if args[end - 1] == ord('"'):
                args[end - 1] = 0
    if quoted and end > start and args[end - 1] == ord('"'):
        args[end - 1] = 0
    following = end + 1 if args[end] else end
    args[end] = 0
    while args[following] and chr(args[following]) in " \t\n\v\f\r\xa0":
        following += 1
    return string(start), None if value is None else string(value), following


@given(
    st.lists(st.sampled_from([b'"', b"=", b" ", b"a", b"b", b"-", b"\xa0", b",", b"\t"]), max_size=24).map(
        b"".join
    )
)
def test_split_like_the_algorithm_in_place(text: bytes) -> None:
    buffer, expected = bytearray(text) + b"\0\0", []
    position = len(text) - len(text.lstrip(b" \t\n\v\f\r\xa0"))
    while buffer[position]:
        name, value, position = next_arg(buffer, position)
        expected.append((name, value))
    assert split(text) == expected


@given(st.binary(max_size=60).filter(lambda text: b"\0" not in text))
def test_value_is_where_it_says(text: bytes) -> None:
    for argument in arguments(text):
        if argument.value is not None:
            assert text[argument.position :].startswith(argument.value)
        assert text.endswith(argument.rest)
