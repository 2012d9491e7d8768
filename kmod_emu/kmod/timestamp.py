"""Points in time as people write them, for --since and --until (util-linux 2.38, lib/timeutils.c)."""

from __future__ import annotations

import re
import time

__all__ = ["parse_timestamp"]

_SECONDS = {
    **dict.fromkeys(("seconds", "second", "sec", "s"), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 7 * 86400.0),
    **dict.fromkeys(("months", "month"), 2629800.0),
    **dict.fromkeys(("years", "year", "y"), 31557600.0),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("usec", "us"), 1e-6),
}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT = {"yesterday": -1, "today": 0, "tomorrow": 1}
_DATES = (
    *("%y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"),
    *("%y-%m-%d %H:%M", "%Y-%m-%d %H:%M", "%y-%m-%d", "%Y-%m-%d"),
)
_TIMES = ("%H:%M:%S", "%H:%M")
_DIGITS = "%Y%m%d%H%M%S"  # whose seconds are read and not used


def parse_timestamp(text: str, now: float) -> int:
    """Seconds since 1970.

    Args:
        text: "2012-09-22 16:34:22" and its shorter forms, "16:34", "yesterday", "-5min", "2 hours ago", ...
        now: The current time, in seconds since 1970.

    Raises:
        ValueError: It is none of these.

    >>> parse_timestamp("now", 1000.5), parse_timestamp("-1min 30s", 1000), parse_timestamp("2s ago", 1000)
    (1000, 910, 998)
    """
    if text == "now":
        return int(now)
    if text in _MIDNIGHT:
        today = time.localtime(now)
        return _seconds((*today[:2], today[2] + _MIDNIGHT[text], 0, 0, 0, 0, 0, -1))
    if text.startswith(("+", "-")):
        return max(int(int(now) + (1 if text[0] == "+" else -1) * _span(text[1:])), 0)
    if text.endswith(" ago"):
        return max(int(int(now) - _span(text.removesuffix(" ago"))), 0)
    day, _, rest = text.partition(" ")
    weekday = next((i for i, name in enumerate(_WEEKDAYS) if day.lower() in (name, name[:3])), None)
    when = _absolute(text if weekday is None else rest, now)
    if weekday not in (None, time.localtime(when).tm_wday):
        raise ValueError(text)
    return when


def _span(text: str) -> float:
    """Seconds of a span such as "1h 30min"."""
    total, place = 0.0, 0
    if not text.strip():
        raise ValueError(text)
    while text[place:].strip():
        match = _SPAN.match(text, place)
        if match is None or match[2] not in _SECONDS:
            raise ValueError(text)
        total += float(match[1]) * _SECONDS[match[2]]
        place = match.end()
    return total


def _absolute(text: str, now: float) -> int:
    for form in _DATES:
        try:
            return _seconds((*time.strptime(text, form)[:6], 0, 0, -1))
        except ValueError:
            continue
    for form in _TIMES:
        try:
            clock = time.strptime(text, form)
        except ValueError:
            continue
        return _seconds((*time.localtime(now)[:3], *clock[3:6], 0, 0, -1))
    return _seconds((*time.strptime(text, _DIGITS)[:5], 0, 0, 0, -1))


def _seconds(local: tuple[int, ...]) -> int:
    try:
        return int(time.mktime(local))  # type: ignore[arg-type]
    except OverflowError as error:
        raise ValueError(str(local)) from error
