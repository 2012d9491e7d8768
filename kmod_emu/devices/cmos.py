"""The clock of a PC that a battery keeps, and the memory beside it: an MC146818.

The clock goes with the machine's; BCD or binary, 24 hours. Of its interrupts there is the alarm.
"""

from __future__ import annotations

import time
from calendar import timegm
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR = 0, 2, 4, 6, 7, 8, 9
_CLOCK = (_SECONDS, _MINUTES, _HOURS, _WEEKDAY, _DAY, _MONTH, _YEAR)
_ALARM = (1, 3, 5)
_A, _B, _C, _D, _CENTURY = 0x0A, 0x0B, 0x0C, 0x0D, 0x32
_SET, _ALARM_ENABLED, _BINARY, _HOURS_24 = 0x80, 0x20, 0x04, 0x02  # B
_ALARM_RANG = 0xA0  # C
_ANY = 0xC0  # in an alarm's field, from here on
_SIZE = 0x80
# What firmware has left: no floppy drives, a coprocessor and a mouse, 640 KiB below the first megabyte.
_FIRMWARE = {_A: 0x26, _B: _HOURS_24, _D: 0x80, 0x14: 0x06, 0x15: 0x80, 0x16: 0x02}


class Cmos:
    """The chip, behind a register for the number of a byte and one for the byte."""

    wiring: ClassVar[dict[str, Any]] = {"ports": 0x70, "size": 2, "irq": 8}

    def __init__(self) -> None:
        self._wires: Wires | None = None
        self._index = 0
        self._bytes = bytearray(_SIZE)
        for place, value in _FIRMWARE.items():
            self._bytes[place] = value
        self._ahead = 0  # of the machine's clock, in seconds
        self._due = 0

    def connect(self, wires: Wires) -> None:
        """It is in its place."""
        self._wires = wires

    def read(self, offset: int, size: int) -> int:
        """Read the byte that was chosen."""
        if offset == 0:
            return 0xFF
        if not self._bytes[_B] & _SET:
            self._show()
        value = self._bytes[self._index]
        if self._index == _C:
            self._bytes[_C] = 0
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """Choose a byte, or write it."""
        value &= 0xFF
        if offset == 0:
            self._index = value & _SIZE - 1
            return
        index, held = self._index, self._bytes[_B] & _SET
        if index in (_C, _D):
            return
        if not held:
            self._show()
        self._bytes[index] = value | _HOURS_24 if index == _B else value
        if (held and not self._bytes[_B] & _SET) or (not held and index in (*_CLOCK, _CENTURY)):
            self._take()
        if index in (*_ALARM, _B):
            self._arm()

    def _now(self) -> int:
        return (int(self._wires.now()) if self._wires else 0) + self._ahead

    def _show(self) -> None:
        """The registers are the time."""
        now = time.gmtime(self._now())
        weekday = (now.tm_wday + 1) % 7 + 1
        fields = (now.tm_sec, now.tm_min, now.tm_hour, weekday, now.tm_mday, now.tm_mon, now.tm_year % 100)
        for place, value in zip(_CLOCK, fields, strict=True):
            self._bytes[place] = self._encoded(value)
        self._bytes[_CENTURY] = self._encoded(now.tm_year // 100)

    def _take(self) -> None:
        """The time is what the registers say, if they make sense."""
        second, minute, hour, _, day, month, year = (self._decoded(self._bytes[place]) for place in _CLOCK)
        year += 100 * self._decoded(self._bytes[_CENTURY])
        if 1 <= month <= 12 and year >= 1970:
            self._ahead += timegm((year, month, day, hour, minute, second)) - self._now()

    def _encoded(self, value: int) -> int:
        return value if self._bytes[_B] & _BINARY else value // 10 << 4 | value % 10

    def _decoded(self, value: int) -> int:
        return value if self._bytes[_B] & _BINARY else (value >> 4) * 10 + (value & 0xF)

    # --- the alarm ------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Ring when seconds, minutes and hours are those, as far as they are given."""
        self._due = 0
        if not self._bytes[_B] & _ALARM_ENABLED or self._wires is None:
            return
        period, at = 1, 0
        for place, unit in zip(_ALARM, (1, 60, 3600), strict=True):
            if self._bytes[place] < _ANY:
                at += self._decoded(self._bytes[place]) * unit
                period = unit * (24 if unit == 3600 else 60)
        now = self._now()
        self._due = now + ((at - now - 1) % period + 1)
        self._wires.after(self._due - now, self._ring)

    def _ring(self) -> None:
        if self._due and self._wires and self._now() >= self._due:
            self._bytes[_C] |= _ALARM_RANG
            self._wires.raise_irq()
            self._arm()

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {"index": self._index, "bytes": self._bytes.hex(), "ahead": self._ahead, "due": self._due}

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._index, self._ahead, self._due = state["index"], state["ahead"], state["due"]
        self._bytes[:] = bytes.fromhex(state["bytes"])
