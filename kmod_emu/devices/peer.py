"""Who is at the other end of a network card's cable: it answers ARP and ping, for one address."""

from __future__ import annotations

import ipaddress
import struct

_MAC = bytes.fromhex("020000000001")
_IPV4, _ARP = 0x0800, 0x0806
_REQUEST, _REPLY = 1, 2
_ICMP, _ECHO, _ECHO_REPLY = 1, 8, 0


class Peer:
    """The other end.

    Args:
        address: Its IPv4 address.

    Raises:
        ValueError: That is none.

    >>> from kmod_emu.devices.peer import Peer
    >>> Peer("10.0.0.1").answer(bytes(60)) is None
    True
    """

    def __init__(self, address: str) -> None:
        try:
            self._address = ipaddress.IPv4Address(address).packed
        except ValueError:
            raise ValueError(f"an address of a peer is written as 10.0.0.1, not {address!r}") from None

    def __str__(self) -> str:
        return str(ipaddress.IPv4Address(self._address))

    def answer(self, frame: bytes) -> bytes | None:
        """The frame that comes back for one, if any does."""
        kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
        reply = self._arp(body) if kind == _ARP else self._ping(body) if kind == _IPV4 else None
        return None if reply is None else frame[6:12] + _MAC + frame[12:14] + reply

    def _arp(self, body: bytes) -> bytes | None:
        head, operation, sender, _, wanted = struct.unpack_from("!6sH10s6s4s", body.ljust(28, b"\0"))
        if operation != _REQUEST or wanted != self._address:
            return None
        return bytes(head) + struct.pack("!H", _REPLY) + _MAC + self._address + bytes(sender)

    def _ping(self, packet: bytes) -> bytes | None:
        size = 4 * (packet[0] & 0xF) if packet else 0
        total = int.from_bytes(packet[2:4], "big")
        head, message = packet[:size], packet[size:total]
        if (
            size < 20
            or len(message) < 8
            or head[9] != _ICMP
            or head[16:20] != self._address
            or message[0] != _ECHO
        ):
            return None
        # Swapped addresses have the same sum; an answer's type is less by 8 in the upper byte.
        echoed = int.from_bytes(message[2:4], "big") + (_ECHO << 8)
        checksum = (echoed & 0xFFFF) + (echoed >> 16)
        reply = struct.pack("!BBH", _ECHO_REPLY, message[1], checksum) + message[4:]
        return head[:12] + head[16:20] + head[12:16] + head[20:] + reply
