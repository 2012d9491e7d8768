"""A serial EEPROM with 64 words on four lines (93C46), as cards have it."""

from __future__ import annotations

from typing import Any

_CLOCK, _SELECT, _IN, _OUT = 1, 2, 4, 8  # of the register by which a driver drives the lines
_REQUEST, _GRANT, _PRESENT = 0x40, 0x80, 0x100
_ADDRESS_BITS, _READ = 6, 0b110
_COMMAND_BITS = 3 + _ADDRESS_BITS


class Eeprom:
    """The chip; it can be read.

    Args:
        words: What it holds, 64 words of 16 bits.
    """

    def __init__(self, words: list[int]) -> None:
        self.words = words
        self._driven = self._address = 0
        self._begin()

    def _begin(self) -> None:
        self._command = self._bits = 0  # what has come in since it was selected
        self._shift: list[int] = []  # what goes out, bit by bit
        self._out = 1

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {**vars(self), "words": list(self.words), "_shift": list(self._shift)}

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        vars(self).update(state, words=list(state["words"]), _shift=list(state["_shift"]))

    def drive(self, lines: int) -> None:
        """The driver sets its lines: what comes in does so when the clock rises."""
        before, self._driven = self._driven, lines
        if not lines & _SELECT:
            self._begin()
        elif lines & ~before & _CLOCK:
            self._clock(bool(lines & _IN))

    def _clock(self, level: bool) -> None:
        if self._bits < _COMMAND_BITS:
            if level or self._command:  # nothing begins before the first one
                self._command, self._bits = self._command << 1 | level, self._bits + 1
            if self._bits == _COMMAND_BITS and self._command >> _ADDRESS_BITS == _READ:
                self._load(self._command & (1 << _ADDRESS_BITS) - 1)
        else:
            if not self._shift:
                self._load(self._address + 1)
            self._out = self._shift.pop(0)

    def _load(self, address: int) -> None:
        self._address = address % len(self.words)
        self._shift = [self.words[self._address] >> bit & 1 for bit in range(15, -1, -1)]
        self._out = 0

    def lines(self) -> int:
        """The register as the driver reads it."""
        granted = _GRANT if self._driven & _REQUEST else 0
        return self._driven & ~(_OUT | _GRANT) | granted | _PRESENT | (_OUT if self._out else 0)
