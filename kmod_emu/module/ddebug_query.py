"""The language of /proc/dynamic_debug/control (lib/dynamic_debug.c): `file x.c line 10-20 +pf`."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Complain = Callable[[str], object]

PRINT = 1
_FLAGS = {"p": PRINT, "m": 2, "f": 4, "l": 8, "t": 16, "_": 0}
_ALL = (1 << 8) - 1
_KEYWORDS = ("func", "file", "module", "format", "class")
_MAX_WORDS = 9


class Site(NamedTuple):
    """Where a pr_debug() stands, and its format."""

    file: str
    function: str
    format: str
    line: int


class Change(NamedTuple):
    """What happens to the flags: those of `mask` stay, those of `flags` are set."""

    flags: int
    mask: int


class Query:
    """Which calls are meant; what is not said matches all."""

    def __init__(self, module: str | None) -> None:
        self.words: dict[str, str] = {"module": module} if module else {}
        self.first, self.last = 0, 0

    def matches(self, module: str, site: Site) -> bool:
        """Whether a call is meant."""
        files = (site.file, site.file.rpartition("/")[2])
        wanted = self.words.get("format", "")
        in_format = site.format.startswith(wanted[1:]) if wanted[:1] == "^" else wanted in site.format
        if "class" in self.words:
            return False  # no module here has named classes
        return (
            self._like("module", module)
            and any(self._like("file", file) for file in files)
            and self._like("func", site.function)
            and in_format
            and (not self.first or site.line >= self.first)
            and (not self.last or site.line <= self.last)
        )

    def _like(self, key: str, text: str) -> bool:
        pattern = self.words.get(key)
        return pattern is None or re.match(translate(pattern.replace("[", "[[]")), text) is not None


def split_queries(text: str) -> Iterator[str]:
    r"""Several queries in one text.

    >>> list(split_queries("file a +p; # no\nline 3 -p"))
    ['file a +p', 'line 3 -p']
    """
    for query in re.split("[;\n]", text):
        if query.strip() and not query.strip().startswith("#"):
            yield query.strip()


def parse_query(text: str, module: str | None, complain: Complain) -> tuple[Query, Change]:
    """One query.

    Args:
        text: The query.
        module: What it is about, where it came as a module's parameter.
        complain: Takes the kernel's line for dmesg.

    Raises:
        KernelError: EINVAL.
    """
    stage = "tokenize failed"
    try:
        words = _tokenize(text)
        stage = "flags parse failed"
        change = _parse_flags(words[-1])
        stage = "query parse failed"
        return _parse_words(words[:-1], module), change
    except _BadQuery as bad:
        complain(str(bad))
        complain(stage)
        raise KernelError(errno.EINVAL, f"no query for dynamic debug: {bad}") from None


class _BadQuery(Exception):
    """The kernel's line about it."""


def _tokenize(text: str) -> list[str]:
    words: list[str] = []
    rest = text.lstrip()
    while rest and not rest.startswith("#"):
        if len(words) == _MAX_WORDS:
            raise _BadQuery(f"too many words, legal max <={_MAX_WORDS}")
        if rest[0] in "'\"":
            word, quote, rest = rest[1:].partition(rest[0])
            if not quote:
                raise _BadQuery(f"unclosed quote: {word}")
        else:
            word = rest.split(maxsplit=1)[0]
            rest = rest[len(word) :]
        words.append(word)
        rest = rest.lstrip()
    return words


def _parse_flags(text: str) -> Change:
    operation, letters = text[:1], text[1:]
    if operation not in ("+", "-", "="):
        raise _BadQuery(f"bad flag-op {operation}, at start of {text}")
    flags = 0
    for letter in letters:
        if letter not in _FLAGS:
            raise _BadQuery(f"unknown flag '{letter}'")
        flags |= _FLAGS[letter]
    return {"=": Change(flags, 0), "+": Change(flags, _ALL), "-": Change(0, _ALL & ~flags)}[operation]


def _parse_words(words: list[str], module: str | None) -> Query:
    if len(words) % 2:
        raise _BadQuery("expecting pairs of match-spec <value>")
    query = Query(module)
    for key, value in zip(words[::2], words[1::2], strict=True):
        if key == "line":
            _parse_lines(query, value)
        elif key not in _KEYWORDS:
            raise _BadQuery(f'unknown keyword "{key}"')
        elif key == "file" and ":" in value:
            name, _, tail = value.partition(":")
            _set(query, "file", name)
            if tail[:1].isdecimal() or tail[:1] == "-":
                _parse_lines(query, tail)
            else:
                _set(query, "func", tail)
        else:
            _set(query, key, value)
    return query


def _set(query: Query, key: str, value: str) -> None:
    old = query.words.get(key)
    if old is not None:
        raise _BadQuery(f"match-spec:{key} val:{old} overridden by {value}")
    query.words[key] = value


def _parse_lines(query: Query, text: str) -> None:
    if query.first or query.last:
        raise _BadQuery("match-spec: line used 2x")
    first, dash, last = text.partition("-")
    for number in (first, last):
        if number and not number.isdecimal():
            raise _BadQuery(f"bad line-number: {number}")
    query.first = int(first or 0)
    query.last = int(last or 0) if dash else query.first
    if query.last and query.last < query.first:
        raise _BadQuery(f"last-line:{query.last} < 1st-line:{query.first}")
