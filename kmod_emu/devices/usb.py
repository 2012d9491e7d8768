"""A USB device as its bus sees it: descriptors, the requests that every device answers, endpoints.

A model has `configuration`, the bytes of its configuration with all interfaces (the functions here make
them); it may have `descriptors`, others by type, `strings`, and `speed`. Its methods are
`transfer(endpoint, data, count)`, which gives bytes to the host or None while there are none, and, for
requests of its own, `control(request_type, request, value, index, data, count)`. An OSError is a stall.
"""

from __future__ import annotations

import errno
import struct
from typing import Any, NamedTuple

LOW, FULL = "low", "full"
IN = 0x80
CONTROL, ISOCHRONOUS, BULK, INTERRUPT = 0, 1, 2, 3
_DEVICE, _CONFIGURATION, _STRING, _INTERFACE, _ENDPOINT = 1, 2, 3, 4, 5
_GET_STATUS, _CLEAR_FEATURE, _SET_FEATURE, _SET_ADDRESS = 0, 1, 3, 5
_GET_DESCRIPTOR, _GET_CONFIGURATION, _SET_CONFIGURATION, _GET_INTERFACE, _SET_INTERFACE = 6, 8, 9, 10, 11
_STANDARD, _KIND = 0, 0x60  # of a request type
_ENGLISH = b"\x04\x03\x09\x04"
_BUS_POWERED = 0x80


class Setup(NamedTuple):
    """The first packet of a control transfer."""

    request_type: int
    request: int
    value: int
    place: int
    size: int


def endpoint(address: int, kind: int, size: int, interval: int = 0) -> bytes:
    """An endpoint's descriptor; addresses of those that lead to the host have the bit `IN`."""
    return struct.pack("<BBBBHB", 7, _ENDPOINT, address, kind, size, interval)


def interface(number: int, class_: int, subclass: int, protocol: int, *parts: bytes) -> bytes:
    """An interface's descriptor, and behind it those of its class and its endpoints."""
    endpoints = sum(part[1] == _ENDPOINT for part in parts)
    head = struct.pack("<9B", 9, _INTERFACE, number, 0, endpoints, class_, subclass, protocol, 0)
    return head + b"".join(parts)


def configuration(*interfaces: bytes, milliamperes: int = 100) -> bytes:
    """A configuration's descriptor, and behind it its interfaces."""
    body = b"".join(interfaces)
    size = 9 + len(body)
    head = (9, _CONFIGURATION, size, len(interfaces), 1, 0, _BUS_POWERED, milliamperes // 2)
    return struct.pack("<BBHBBBBB", *head) + body


def setup_of(packet: bytes) -> Setup:
    """What the eight bytes of a setup packet say."""
    return Setup(*struct.unpack("<BBHHH", packet))


class UsbFunction:
    """What is plugged into a port.

    Args:
        model: The device.
        ids: Its vendor and product.

    Raises:
        ValueError: The model has no configuration.
    """

    def __init__(self, model: Any, ids: tuple[int, int]) -> None:
        found = getattr(model, "configuration", None)
        if (
            not isinstance(found, bytes)
            or len(found) < 9
            or int.from_bytes(found[2:4], "little") != len(found)
        ):
            raise ValueError("a USB device has the bytes of its configuration, as devices/usb.py makes them")
        self.model = model
        self.speed: str = getattr(model, "speed", FULL)
        self._strings = [*getattr(model, "strings", ())]
        packet = 8 if self.speed == LOW else 64
        named = [index + 1 if index < len(self._strings) else 0 for index in range(3)]
        head = (18, _DEVICE, 0x0110, *getattr(model, "device_class", (0, 0, 0)), packet, *ids, 0x0100)
        self._descriptors: dict[int, bytes] = {
            _DEVICE: struct.pack("<BBHBBBBHHH4B", *head, *named, 1),
            _CONFIGURATION: found,
            **getattr(model, "descriptors", {}),
        }

    def control(self, setup: Setup, data: bytes) -> bytes:
        """A control transfer: what goes to the host.

        Raises:
            OSError: The device stalls.
        """
        if setup.request_type & _KIND == _STANDARD:
            answer = self._standard(setup)
            if answer is not None:
                return answer[: setup.size]
        handler = getattr(self.model, "control", None)
        if handler is None:
            raise OSError(errno.EPIPE, "the device does not know the request")
        return bytes(handler(*setup[:4], data, setup.size) or b"")[: setup.size]

    def _standard(self, setup: Setup) -> bytes | None:
        """What every device answers; None is for the model."""
        if setup.request == _GET_DESCRIPTOR:
            if setup.value >> 8 == _STRING:
                return self._string(setup.value & 0xFF)
            return self._descriptors.get(setup.value >> 8)
        return {
            _GET_STATUS: b"\0\0",
            _GET_CONFIGURATION: b"\1",
            _GET_INTERFACE: b"\0",
            **dict.fromkeys((_CLEAR_FEATURE, _SET_FEATURE, _SET_ADDRESS), b""),
            **dict.fromkeys((_SET_CONFIGURATION, _SET_INTERFACE), b""),
        }.get(setup.request)

    def _string(self, index: int) -> bytes | None:
        if not index:
            return _ENGLISH
        if index > len(self._strings):
            return None
        text = str(self._strings[index - 1]).encode("utf-16-le")
        return bytes([2 + len(text), _STRING]) + text

    def transfer(self, address: int, data: bytes, count: int) -> bytes | None:
        """A transfer of another endpoint: what goes to the host, None while there is nothing.

        Raises:
            OSError: The device stalls.
        """
        answer = self.model.transfer(address, data, count)
        return None if answer is None else bytes(answer)[:count]
