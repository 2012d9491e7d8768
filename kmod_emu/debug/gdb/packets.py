"""Packets of gdb's remote protocol: `$data#checksum`, escapes, and what stands between them."""

from __future__ import annotations

from typing import NamedTuple

BREAK = b"\x03"  # Ctrl-C
LONGEST = 1 << 20  # a packet that does not end by then is none
_ESCAPE, _FLIP = 0x7D, 0x20
_SPECIAL = b"$#}*"


class Received(NamedTuple):
    """One thing that came.

    Attributes:
        kind: "packet", "damaged", "ack", "nack" or "break".
        data: Of a packet, its bytes without escapes.
    """

    kind: str
    data: bytes = b""


def checksum(data: bytes) -> int:
    """Sum of all bytes, modulo 256."""
    return sum(data) & 0xFF


def escape(data: bytes) -> bytes:
    """Data as it may stand in a packet.

    >>> escape(b"a}b")
    b'a}]b'
    """
    if not any(byte in _SPECIAL for byte in data):
        return data
    return b"".join(bytes((_ESCAPE, byte ^ _FLIP)) if byte in _SPECIAL else bytes((byte,)) for byte in data)


def unescape(data: bytes) -> bytes:
    """The reverse; an escape without anything behind it is dropped.

    >>> unescape(b"a}]b")
    b'a}b'
    """
    if _ESCAPE not in data:
        return data
    result, escaped = bytearray(), False
    for byte in data:
        if escaped:
            result.append(byte ^ _FLIP)
            escaped = False
        elif byte == _ESCAPE:
            escaped = True
        else:
            result.append(byte)
    return bytes(result)


def frame(data: bytes) -> bytes:
    """A packet.

    >>> frame(b"OK")
    b'$OK#9a'
    """
    escaped = escape(data)
    return b"$%b#%02x" % (escaped, checksum(escaped))


class Parser:
    """Cuts a stream of bytes into packets; whatever comes, it goes on."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Received]:
        """What is complete with these bytes."""
        self._rest += data
        found: list[Received] = []
        while self._rest:
            first = self._rest[:1]
            if first != b"$":
                self._rest = self._rest[1:]
                kind = {b"+": "ack", b"-": "nack", BREAK: "break"}.get(first)
                if kind:
                    found.append(Received(kind))
                continue  # everything else is noise
            end = self._rest.find(b"#")
            again = self._rest.rfind(b"$", 1, end if end >= 0 else len(self._rest))
            if again > 0:  # the beginning of a packet inside of one: the first was cut off
                self._rest = self._rest[again:]
                found.append(Received("damaged"))
                continue
            if end < 0 or len(self._rest) < end + 3:
                if len(self._rest) > LONGEST:
                    self._rest = b""
                    found.append(Received("damaged"))
                break
            body, sent = self._rest[1:end], self._rest[end + 1 : end + 3]
            self._rest = self._rest[end + 3 :]
            good = sent.lower() == b"%02x" % checksum(body)
            found.append(Received("packet", unescape(body)) if good else Received("damaged"))
        return found
