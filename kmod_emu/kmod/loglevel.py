"""Names of levels and facilities of the kernel log (util-linux 2.38, sys-utils/dmesg.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news"),
    *("uucp", "cron", "authpriv", "ftp"),
)


def parse_list(text: str, names: Sequence[str], what: str) -> set[int]:
    """Numbers of a list of names and numbers, separated by commas.

    Raises:
        ValueError: With the message, which is empty where dmesg says nothing.

    >>> sorted(parse_list("err,WARN,0", LEVELS, "level"))
    [0, 3, 4]
    >>> parse_list("err,none,warn", LEVELS, "level")
    Traceback (most recent call last):
    ValueError: unknown level 'none,warn'
    """
    found, start = set(), 0
    while start < len(text):
        end = text.find(",", start)
        if end < 0 or end == len(text) - 1:  # a comma at the very end belongs to the name before it
            end = len(text)
        if end == start:
            raise ValueError
        number = parse_name(text[start:end], names)
        if number is None:
            raise ValueError(f"unknown {what} '{text[start:]}'")
        found.add(number)
        start = end + 1
    return found


def parse_name(text: str, names: Sequence[str]) -> int | None:
    """The number of one name, or a number itself."""
    if text[:1].isdecimal():
        return int(text) if text.isdecimal() and int(text) < len(names) else None
    return names.index(text.lower()) if text.lower() in names else None
