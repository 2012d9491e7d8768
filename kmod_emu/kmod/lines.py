"""Lines of kmod's configuration files (kmod 30, shared/util.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def logical_lines(text: bytes) -> Iterator[tuple[int, str]]:
    r"""Lines with the number of their last physical line; a backslash joins a line with the next.

    >>> list(logical_lines(b"a\\\nb\nc"))
    [(2, 'ab'), (3, 'c')]
    """
    joined = b""
    lines = text.split(b"\n")
    for at, line in enumerate(lines, 1):
        last = at == len(lines)
        if line.endswith(b"\\") and not last:
            joined += line[:-1]
            continue
        if last and not (joined + line):
            return
        # C's strings end at a NUL
        yield at, (joined + line).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        joined = b""
