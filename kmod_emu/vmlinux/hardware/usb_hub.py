"""The ports of a USB controller, by the requests that hubs answer (USB 2.0, section 11.24)."""

from __future__ import annotations

import struct
from typing import Any

_GET_DESCRIPTOR, _GET_HUB_STATUS, _GET_PORT_STATUS = 0xA006, 0xA000, 0xA300
_SET_PORT_FEATURE, _CLEAR_PORT_FEATURE = 0x2303, 0x2301
_SET_HUB_FEATURE, _CLEAR_HUB_FEATURE = 0x2003, 0x2001
_CONNECTION, _ENABLE, _SUSPEND, _RESET, _POWER, _LOW_SPEED = 1, 2, 4, 0x10, 0x100, 0x200
_FEATURES = {1: _ENABLE, 2: _SUSPEND, 4: _RESET, 8: _POWER}
_CHANGES = 16  # feature numbers of the changes begin there


class RootHub:
    """The ports.

    Args:
        ports: How many.
    """

    def __init__(self, ports: int) -> None:
        self._status = [0] * ports
        self._change = [0] * ports

    def connect(self, port: int, *, low_speed: bool) -> None:
        """Something is plugged in."""
        self._status[port - 1] |= _CONNECTION | (_LOW_SPEED if low_speed else 0)
        self._change[port - 1] |= _CONNECTION

    def disconnect(self, port: int) -> None:
        """It is taken out."""
        self._status[port - 1] &= _POWER
        self._change[port - 1] |= _CONNECTION

    def changes(self) -> bytes:
        """A bit for each port that has changed; the lowest is for the hub itself."""
        bits = sum(2 << index for index, change in enumerate(self._change) if change)
        return bits.to_bytes(len(self._status) // 8 + 1, "little")

    def control(self, request: int, value: int, index: int) -> bytes | None:
        """Answer a request; None is a stall."""
        if request == _GET_DESCRIPTOR:
            # all ports have power at once, and are told of if too much flows, together; none is built in
            count, width = len(self._status), len(self._status) // 8 + 1
            head = struct.pack("<BBBHBB", 7 + 2 * width, 0x29, count, 0, 1, 0)
            return head + bytes(width) + b"\xff" * width
        if request == _GET_HUB_STATUS:
            return bytes(4)
        if request in (_SET_HUB_FEATURE, _CLEAR_HUB_FEATURE):
            return b""
        port = (index & 0xFF) - 1
        if not 0 <= port < len(self._status):
            return None
        if request == _GET_PORT_STATUS:
            return struct.pack("<HH", self._status[port], self._change[port])
        if request == _SET_PORT_FEATURE:
            self._set(port, _FEATURES.get(value, 0))
            return b""
        if request == _CLEAR_PORT_FEATURE:
            if value >= _CHANGES:
                self._change[port] &= ~(1 << value - _CHANGES)
            else:
                self._status[port] &= ~_FEATURES.get(value, 0)
            return b""
        return None

    def _set(self, port: int, bit: int) -> None:
        if bit == _RESET:  # it is over at once
            if self._status[port] & _CONNECTION:
                self._status[port] |= _ENABLE
                self._change[port] |= _RESET
        else:
            self._status[port] |= bit

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self._status), list(self._change)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._status, self._change = (list(each) for each in state)
