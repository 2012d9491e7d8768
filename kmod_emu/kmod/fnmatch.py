"""fnmatch(3) without flags, as glibc does it in the C locale."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_CLASSES: dict[bytes, Callable[[bytes], bool]] = {
    b"alnum": bytes.isalnum,
    b"alpha": bytes.isalpha,
    b"blank": lambda c: c in b" \t",
    b"cntrl": lambda c: c[0] < 32 or c[0] == 127,
    b"digit": bytes.isdigit,
    b"graph": lambda c: 32 < c[0] < 127,
    b"lower": bytes.islower,
    b"print": lambda c: 32 <= c[0] < 127,
    b"punct": lambda c: 32 < c[0] < 127 and not c.isalnum(),
    b"space": bytes.isspace,
    b"upper": bytes.isupper,
    b"xdigit": lambda c: c in b"0123456789abcdefABCDEF",
}


def fnmatch(pattern: bytes, text: bytes) -> bool:
    r"""Whether a pattern of `*`, `?`, `[...]` and backslashes matches all of a text.

    >>> fnmatch(b"pci:v*d*sv[!0]*", b"pci:v1d2sv3"), fnmatch(b"a[0-9", b"a1"), fnmatch(rb"\*", b"*")
    (True, False, True)
    """
    p = t = 0
    star, resume = -1, 0  # where the last * goes on in the pattern, and how much of the text it has eaten
    while True:
        if pattern[p : p + 1] == b"*":
            p += 1
            star, resume = p, t
            continue
        if t == len(text):
            if p == len(pattern):
                return True
        elif p < len(pattern):
            after = _one(pattern, p, text[t : t + 1])
            if after:
                p, t = after, t + 1
                continue
        if star < 0 or resume == len(text):
            return False
        resume += 1
        p, t = star, resume


def _one(pattern: bytes, p: int, char: bytes) -> int:
    """Match one character; where the pattern goes on, or 0."""
    kind = pattern[p : p + 1]
    if kind == b"?":
        return p + 1
    if kind == b"[":
        end, matched = _bracket(pattern, p + 1, char)
        if end:
            return end if matched else 0
    elif kind == b"\\":
        return p + 2 if pattern[p + 1 : p + 2] == char else 0
    return p + 1 if kind == char else 0


def _bracket(pattern: bytes, p: int, char: bytes) -> tuple[int, bool]:
    """A bracket expression: where it ends, 0 if it never does, and whether the character is in it."""
    negated = pattern[p : p + 1] in (b"!", b"^")
    p += negated
    matched, first = False, True
    while True:
        low = pattern[p : p + 1]
        if not low:
            return 0, False
        if low == b"]" and not first:
            return p + 1, matched is not negated
        first = False
        if pattern[p : p + 2] == b"[:" and (end := pattern.find(b":]", p)) > 0:
            belongs = _CLASSES.get(pattern[p + 2 : end])
            matched |= belongs is not None and belongs(char)
            p = end + 2
            continue
        if low == b"\\":
            p += 1
            low = pattern[p : p + 1]
        p += 1
        high = low
        if pattern[p : p + 1] == b"-" and pattern[p + 1 : p + 2] not in (b"]", b""):
            p += 1 + (pattern[p + 1 : p + 2] == b"\\")
            high = pattern[p : p + 1]
            p += 1
        matched |= low <= char <= high
