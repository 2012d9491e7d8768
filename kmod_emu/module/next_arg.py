"""Splitting a parameter string (lib/cmdline.c: next_arg; kernel/params.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACES = b" \t\n\v\f\r\xa0"  # isspace() of lib/ctype.c, which is Latin-1
_QUOTE, _EQUALS = 0x22, 0x3D


class Argument(NamedTuple):
    """One argument.

    Attributes:
        name: What is in front of the first `=`.
        value: What is behind it; None without one.
        position: Where the value begins in the whole string.
        rest: What follows, where `--` stops.
    """

    name: bytes
    value: bytes | None
    position: int
    rest: bytes


def arguments(text: bytes) -> Iterator[Argument]:
    """Split a parameter string.

    >>> [(a.name, a.value) for a in arguments(b'n=1 who="a b" flag')]
    [(b'n', b'1'), (b'who', b'a b'), (b'flag', None)]
    """
    rest = text.lstrip(_SPACES)
    while rest:
        argument = _next_arg(rest, len(text) - len(rest))
        yield argument
        rest = argument.rest


def _next_arg(text: bytes, position: int) -> Argument:
    quoted = text[0] == _QUOTE
    if quoted:
        text = text[1:]
        position += 1
    in_quote, equals, end = quoted, 0, len(text)
    for index, byte in enumerate(text):
        if byte in _SPACES and not in_quote:
            end = index
            break
        if not equals and byte == _EQUALS:
            equals = index
        if byte == _QUOTE:
            in_quote = not in_quote
    word, rest = text[:end], text[end + 1 :].lstrip(_SPACES)
    if not equals:
        return Argument(_unquote_end(word) if quoted else word, None, position, rest)
    name, value, position = word[:equals], word[equals + 1 :], position + equals + 1
    if value[:1] == b'"':
        return Argument(name, _unquote_end(value[1:]), position + 1, rest)
    return Argument(name, _unquote_end(value) if quoted else value, position, rest)


def _unquote_end(word: bytes) -> bytes:
    return word[:-1] if word.endswith(b'"') else word


def parameq(one: bytes, other: bytes) -> bool:
    """Whether two parameter names are equal, `-` and `_` being the same.

    >>> parameq(b"a-b", b"a_b")
    True
    """
    return one.replace(b"-", b"_") == other.replace(b"-", b"_")
