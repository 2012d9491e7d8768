"""Names and aliases as kmod compares them: `-` is `_` (kmod 30, shared/util.c)."""

from __future__ import annotations

import re

_PIECES = re.compile(rb"\[[^\]]*\]|[^\[\]]+")


def normalize(alias: bytes) -> bytes | None:
    """An alias with `_` for each `-` outside brackets; None where brackets do not match.

    >>> normalize(b"usb-a[0-9]-b"), normalize(b"a]"), normalize(b"a[")
    (b'usb_a[0-9]_b', None, None)
    """
    if b"[" not in alias and b"]" not in alias:
        return alias.replace(b"-", b"_")
    pieces = _PIECES.findall(alias)
    if sum(map(len, pieces)) != len(alias):
        return None
    return b"".join(piece if piece.startswith(b"[") else piece.replace(b"-", b"_") for piece in pieces)
