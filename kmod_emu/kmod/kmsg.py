"""Records of the kernel log as dmesg reads them, from the ring buffer or from text of syslog(2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.loglevel import FACILITIES, LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kmod_emu.kernel.logbuffer import Record

_NSEC_PER_SEC = 1_000_000_000
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")  # as strtol(3) reads it
_NONE = -1


class Message(NamedTuple):
    """One record.

    Attributes:
        facility: Index into FACILITIES, -1 if unknown.
        level: Index into LEVELS, -1 if unknown.
        sec: Time since boot.
        usec: Its fraction, in microseconds.
        text: May hold newlines.
    """

    facility: int
    level: int
    sec: int
    usec: int
    text: bytes


def from_records(records: Iterable[Record]) -> Iterator[Message]:
    """What /dev/kmsg gives."""
    for record in records:
        sec, rest = divmod(record.time_ns, _NSEC_PER_SEC)
        yield Message(0, record.level, sec, rest // 1000, record.text)


def syslog_text(records: Iterable[Record], size: int | None = None) -> bytes:
    """What syslog(2) gives: every line with its level and time; the newest records that fit into `size`."""
    parts: list[bytes] = []
    left = size
    for message in reversed(list(from_records(records))):
        head = b"<%d>[%5d.%06d] " % (message.level, message.sec, message.usec)
        text = b"".join(head + line + b"\n" for line in message.text.split(b"\n"))
        if left is not None:
            left -= len(text)
            if left < 0:
                break
        parts.append(text)
    return b"".join(reversed(parts))


def parse_syslog(text: bytes, *, levels: bool, times: bool) -> Iterator[Message]:
    r"""Records of a text such as `dmesg -r` prints.

    Args:
        text: A record begins with the text, or with a "<" at the start of a line.
        levels: Understand what is between "<" and ">", and not only skip it.
        times: Understand the time stamps.

    >>> [m.text for m in parse_syslog(b"<4>[    2.000003] one\n more\n<14>two\n", levels=True, times=True)]
    [b'one\n more', b'two']
    """
    start = 0
    while start < len(text):
        while text[start : start + 1] == b"\0":
            start += 1
        end = text.find(b"\n<", start + 1)
        end = end if end >= 0 else len(text)
        if start < end:
            yield _parse_record(text[start:end], levels, times, last=end == len(text))
        start = end + 1


def _parse_record(record: bytes, levels: bool, times: bool, *, last: bool) -> Message:
    facility = level = _NONE
    sec = usec = 0
    if record.startswith(b"<"):
        if levels:
            facility, level, record = _parse_priority(record[1:])
        else:
            record = _skip(record, b">")
    if record[:1] == b"[" and (record[1:2] == b" " or record[1:2].isdigit()):
        if times:
            sec, usec, record = _parse_time(record[1:])
        else:
            record = _skip(record, b"]")
        record = record.removeprefix(b" ")
    return Message(facility, level, sec, usec, record.removesuffix(b"\n") if last else record)


def _parse_priority(text: bytes) -> tuple[int, int, bytes]:
    match = _NUMBER.match(text)
    if match is None:
        return _NONE, _NONE, text
    number = int(match[1])
    facility, level = (number & 0x3F8) >> 3, number & 7
    known = facility <= len(FACILITIES) and level <= len(LEVELS)
    return facility if known else _NONE, level, text[match.end() + 1 :]


def _parse_time(text: bytes) -> tuple[int, int, bytes]:
    """Seconds, microseconds and what follows; a stamp that is none stays in the text, without its bracket."""
    seconds = _NUMBER.match(text)
    sec = int(seconds[1]) if seconds else 0
    place = seconds.end() if seconds else 0
    if text[place : place + 1] != b".":
        return sec, 0, text[place + 1 :] if seconds and text[place : place + 1] == b"]" else text
    fraction = _NUMBER.match(text, place + 1)
    usec = int(fraction[1]) if fraction else 0
    if fraction is None or text[fraction.end() : fraction.end() + 1] != b"]":
        return sec, usec, text
    return sec, usec, text[fraction.end() + 1 :]


def _skip(text: bytes, end: bytes) -> bytes:
    """Behind the first `end` or NUL."""
    place = next((i for i, byte in enumerate(text) if byte in (end[0], 0)), len(text) - 1)
    return text[place + 1 :]
