"""Keyboard and mouse with PS/2 plugs: the commands that they answer."""

from __future__ import annotations

from typing import Any

_ACK, _RESEND, _TESTED = 0xFA, 0xFE, 0xAA
_RESET, _DEFAULTS, _DISABLE, _ENABLE, _IDENTIFY = 0xFF, 0xF6, 0xF5, 0xF4, 0xF2


class Ps2Keyboard:
    """A keyboard; its codes are those of set 1, as PCs have their controller translate them."""

    _WITH_ARGUMENT = frozenset((0xED, 0xF0, 0xF3))  # lights, set of codes, repetition
    _ECHO, _WHICH_SET, _SET = 0xEE, 0xF0, 0x41  # the second, translated

    def __init__(self) -> None:
        self.enabled = True
        self.lights = 0
        self._waiting = 0  # the command whose argument is to come

    def command(self, byte: int) -> bytes:
        """A byte from the host: what the keyboard answers."""
        if self._waiting:
            command, self._waiting = self._waiting, 0
            if command == 0xED:
                self.lights = byte & 7
            return bytes([_ACK, self._SET]) if command == self._WHICH_SET and not byte else bytes([_ACK])
        if byte in self._WITH_ARGUMENT:
            self._waiting = byte
            return bytes([_ACK])
        if byte in (_ENABLE, _DISABLE, _DEFAULTS, _RESET):
            self.enabled = byte != _DISABLE
        return {
            _RESET: bytes([_ACK, _TESTED]),
            _IDENTIFY: bytes([_ACK, 0xAB, 0x41]),
            self._ECHO: bytes([self._ECHO]),
            **dict.fromkeys((_ENABLE, _DISABLE, _DEFAULTS), bytes([_ACK])),
        }.get(byte, bytes([_RESEND]))

    def save(self) -> Any:
        """State as plain data."""
        return [self.enabled, self.lights, self._waiting]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.enabled, self.lights, self._waiting = state


class Ps2Mouse:
    """A mouse with three buttons; drivers that ask for a wheel as Microsoft's has it get one."""

    _WITH_ARGUMENT = frozenset((0xE8, 0xF3))  # resolution, rate
    _KNOCK = (200, 100, 80)  # rates that ask for the wheel
    _WHEEL = 3

    def __init__(self) -> None:
        self._rates: list[int] = []
        self._waiting = 0
        self._forget()

    def _forget(self) -> None:
        self.enabled = False
        self._rate, self._resolution, self._kind = 100, 2, 0

    def command(self, byte: int) -> bytes:
        """A byte from the host: what the mouse answers."""
        if self._waiting:
            command, self._waiting = self._waiting, 0
            if command == 0xE8:
                self._resolution = byte
            else:
                self._rate, self._rates = byte, [*self._rates, byte][-3:]
                if tuple(self._rates) == self._KNOCK:
                    self._kind = self._WHEEL
            return bytes([_ACK])
        if byte in self._WITH_ARGUMENT:
            self._waiting = byte
        elif byte in (_RESET, _DEFAULTS):
            self._forget()
        elif byte in (_ENABLE, _DISABLE):
            self.enabled = byte == _ENABLE
        return {
            _RESET: bytes([_ACK, _TESTED, 0]),
            _IDENTIFY: bytes([_ACK, self._kind]),
            0xE9: bytes([_ACK, 0x20 if self.enabled else 0, self._resolution, self._rate]),
            0xEB: bytes([_ACK]) + self.packet(0, 0, 0, 0),
            # scaling, streams or not, and what was above
            **dict.fromkeys((0xE6, 0xE7, 0xE8, 0xEA, 0xF0, 0xF3, 0xF4, 0xF5, 0xF6), bytes([_ACK])),
        }.get(byte, bytes([_RESEND]))

    def packet(self, dx: int, dy: int, wheel: int, buttons: int) -> bytes:
        """What it says of a movement; upwards is positive."""
        dx, dy = (max(-256, min(255, each)) for each in (dx, dy))
        head = 8 | buttons & 7 | (dx < 0) << 4 | (dy < 0) << 5
        return bytes([head, dx & 0xFF, dy & 0xFF, *([-wheel & 0xFF] if self._kind else [])])

    def save(self) -> Any:
        """State as plain data."""
        return [self.enabled, self._rate, self._resolution, self._kind, self._waiting, list(self._rates)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.enabled, self._rate, self._resolution, self._kind, self._waiting, rates = state
        self._rates = list(rates)
