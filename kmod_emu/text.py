"""Text from modules and files, made fit for a terminal."""

from __future__ import annotations


def escape(text: bytes) -> str:
    r"""Bytes as a terminal may show them.

    >>> escape(b"\x1b[31mred\t\xc3\xa9")
    '\\x1b[31mred\té'
    """
    decoded = text.decode("utf-8", "backslashreplace")
    if decoded.isprintable():
        return decoded
    return "".join(
        c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" if c < "\u0100" else f"\\u{ord(c):04x}"
        for c in decoded
    )


def tame(text: str) -> str:
    """Text whose control characters, but for newlines, are shown and not obeyed."""
    return "\n".join(escape(line.encode("utf-8", "surrogateescape")) for line in text.split("\n"))
