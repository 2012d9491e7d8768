"""How dmesg prints records (util-linux 2.38, sys-utils/dmesg.c: print_record)."""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmod_emu.kmod.loglevel import FACILITIES, LEVELS

if TYPE_CHECKING:
    from kmod_emu.kmod.kmsg import Message

__all__ = ["Printer", "Style", "safe"]

_RESET = "\x1b[0m"
_SUBSYSTEM, _TIME, _TIMEBREAK = "\x1b[33m", "\x1b[32m", "\x1b[32m\x1b[1m"
_SEGFAULT = "\x1b[2m\x1b[31m"
_LEVEL_COLOURS = {1: "\x1b[7m\x1b[31m", 2: "\x1b[1m\x1b[31m", 3: "\x1b[31m", 4: "\x1b[1m"}
_AFTER_SUBSYSTEM = re.compile(rb"[^\0]*?:[ \t](?=.)", re.DOTALL)
_WHITE = "\t\n\v\f\r"
_JSON_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


@dataclass
class Style:
    """What the options ask for.

    Attributes:
        time: "time", "notime", "ctime", "reltime", "delta", "iso", and "time+delta", "ctime+delta".
        boot: Wall clock at boot, seconds since 1970.
        levels: Only these; None is all. The same for `facilities`.
        from_text: The records are from a text and not from /dev/kmsg.
        since: Only records from after this, seconds since 1970; 0 is all. `until` likewise.
    """

    time: str = "time"
    boot: int = 0
    levels: set[int] | None = None
    facilities: set[int] | None = None
    since: int = 0
    until: int = 0
    raw: bool = False
    decode: bool = False
    colour: bool = False
    json: bool = False
    escape: bool = True
    force_prefix: bool = False
    from_text: bool = False


@dataclass
class Printer:
    """Prints records one after another: what comes before a record shapes how its time is shown."""

    style: Style
    _last: tuple[int, int] = (0, 0)
    _last_minute: tuple[int, int, int] = (0, 0, 0)
    _objects: int = 0

    def record(self, message: Message) -> str:
        """One record as text; "" if it is not wanted."""
        if not self._wanted(message):
            return ""
        if not message.text:
            return "" if self.style.json else "\n"
        if self.style.json:
            return self._json(message)
        stamp, again, colour = self._stamp(message)
        priority = self._priority(message)
        indent = len(stamp) + len(priority)
        lines = [message.text]
        if self.style.force_prefix:
            lines = [line for line in message.text.split(b"\n") if line] or [b""]
        shown = []
        for line in lines:
            shown.append(
                f"{priority}{self._coloured(stamp, colour)}{self._text(line, message.level, indent)}\n"
            )
            stamp = again
        return "".join(shown)

    def end(self) -> str:
        """What closes the output."""
        return "\n   ]\n}\n" if self._objects else ""

    def _wanted(self, message: Message) -> bool:
        style = self.style
        for wanted, value in ((style.levels, message.level), (style.facilities, message.facility)):
            if wanted is not None and (message.facility < 0 or value not in wanted):
                return False
        when = style.boot + message.sec
        return not (style.since and style.since >= when) and not (style.until and style.until <= when)

    def _priority(self, message: Message) -> str:
        known = 0 <= message.facility < len(FACILITIES) and message.level >= 0
        if self.style.raw or not self.style.decode or not known:
            return ""
        return f"{FACILITIES[message.facility]:6}:{LEVELS[message.level]:6}: "

    def _stamp(self, message: Message) -> tuple[str, str, str]:
        """The time, the time for further lines of the same record, and the colour of both."""
        plain = f"{message.sec:5d}.{message.usec:06d}"
        if self.style.raw:  # the two numbers are or-ed, as they stand
            stamp = f"<{message.facility | message.level}>[{plain}] "
            return stamp, stamp, _TIME
        match self.style.time:
            case "notime":
                stamp = ""
            case "ctime":
                stamp = f"[{self._local(message, '%a %b %e %H:%M:%S %Y')}] "
            case "ctime+delta":
                stamp = f"[{self._local(message, '%a %b %e %H:%M:%S %Y')} <{self._delta(message):12.6f}>] "
            case "time+delta":
                stamp = f"[{plain} <{self._delta(message):12.6f}>] "
            case "delta":
                stamp = f"[<{self._delta(message):12.6f}>] "
            case "iso":
                zone = self._local(message, "%z")
                stamp = (
                    f"{self._local(message, '%Y-%m-%dT%H:%M:%S')},{message.usec:06d}{zone[:3]}:{zone[3:]} "
                )
            case "reltime":
                return self._relative(message)
            case _:
                stamp = f"[{plain}] "
        return stamp, stamp, _TIME

    def _relative(self, message: Message) -> tuple[str, str, str]:
        """The time since the record before, and the time of day where a new minute begins."""
        again = "[  +0.000000] "
        delta = self._delta(message)
        local = time.localtime(self.style.boot + message.sec)
        minute = (local.tm_min, local.tm_hour, local.tm_yday)
        fresh = minute != self._last_minute
        self._last_minute = minute
        if fresh:
            return f"[{time.strftime('%b%e %H:%M', local)}] ", again, _TIMEBREAK
        return f"[  {delta:+8.6f}] " if delta < 10 else f"[ {delta:+9.6f}] ", again, _TIME

    def _delta(self, message: Message) -> float:
        sec, usec = self._last
        self._last = message.sec, message.usec
        return (message.sec - sec) + (message.usec - usec) / 1e6 if (sec, usec) != (0, 0) else 0.0

    def _local(self, message: Message, form: str) -> str:
        return time.strftime(form, time.localtime(self.style.boot + message.sec))

    def _text(self, text: bytes, level: int, indent: int) -> str:
        if not self.style.colour:
            return self._safe(text, indent)
        subsystem = _AFTER_SUBSYSTEM.match(text)
        place = subsystem.end() if subsystem else 0
        head, rest = text[:place], text[place:]
        colour = _LEVEL_COLOURS.get(level) or (_SEGFAULT if b"segfault at" in rest else "")
        return self._coloured(self._safe(head, indent), _SUBSYSTEM) + self._coloured(
            self._safe(rest, indent), colour
        )

    def _safe(self, text: bytes, indent: int) -> str:
        followed = rb"\n(?!\0)" if self.style.from_text else rb"\n(?=[^\0])"  # a text goes on behind a record
        text = re.sub(followed, b"\n" + b" " * indent, text)
        return safe(text) if self.style.escape else text.decode("utf-8", "surrogateescape")

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if text and colour and self.style.colour else text

    def _json(self, message: Message) -> str:
        known = 0 <= message.facility < len(FACILITIES) and message.level >= 0
        members = []
        if known and self.style.decode:
            members += [f'"fac": "{FACILITIES[message.facility]}"', f'"pri": "{LEVELS[message.level]}"']
        elif known:
            members.append(f'"pri": {message.facility | message.level}')
        members.append(f'"time": {message.sec:5d}.{message.usec:06d}')
        members.append(f'"msg": {_quoted(message.text.decode("utf-8", "surrogateescape"))}')
        opening = ",{" if self._objects else '{\n   "dmesg": [\n      {'
        self._objects += 1
        return opening + ",".join(f"\n         {member}" for member in members) + "\n      }"


def _quoted(text: str) -> str:
    """A JSON string: what is not ASCII stays as it is."""
    return '"' + "".join(_JSON_SHORT.get(c) or (c if c >= " " else f"\\u{ord(c):04x}") for c in text) + '"'


def safe(text: bytes) -> str:
    r"""Text for a terminal: what is neither printable nor white space as \xNN.

    >>> safe(b"\x1b[31mred\xff \xc3\xa9\n")
    '\\x1b[31mred\\xff é\n'
    """
    decoded = text.decode("utf-8", "surrogateescape")
    return decoded if decoded.isprintable() else "".join(map(_safe_character, decoded))


def _safe_character(c: str) -> str:
    if c.isprintable() or c in _WHITE or unicodedata.category(c).startswith("Z"):
        return c
    return "".join(f"\\x{byte:02x}" for byte in c.encode("utf-8", "surrogateescape"))
