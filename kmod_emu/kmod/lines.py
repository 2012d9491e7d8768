"""Lines of kmod's configuration files (kmod 30, shared/util.c)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_PIECE = re.compile(rb"\\\n|\\.|\\\Z|\n|[^\\\n]+", re.DOTALL)


def logical_lines(text: bytes) -> Iterator[tuple[int, str]]:
    r"""Lines with the number of their last physical line.

    A backslash joins a line with the next. In front of anything else it vanishes, and at the end of the file
    it becomes a byte 255, which is what kmod makes of an end of file there.

    >>> list(logical_lines(b"a\\\nb\nc\\d"))
    [(2, 'ab'), (3, 'cd')]
    """
    number, line = 0, b""
    for piece in _PIECE.findall(text):
        if piece == b"\n":
            number += 1
            yield number, _text(line)
            line = b""
        elif piece == b"\\\n":
            number += 1
        elif piece == b"\\":
            line += b"\xff"
        else:
            line += piece[1:] if piece.startswith(b"\\") else piece
    if line:
        yield number + 1, _text(line)


def _text(line: bytes) -> str:
    """A line; C's strings end at a NUL."""
    return line.partition(b"\0")[0].decode("utf-8", "surrogateescape")
