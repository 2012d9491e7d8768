"""DER, the encoding of certificates and signatures: splitting it into elements (ITU-T X.690)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE, SET, CONTEXT_0 = 2, 3, 4, 6, 0x30, 0x31, 0xA0
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # the content type of a PKCS#7 signature


class BadMessage(ValueError):
    """Not the DER that was expected."""


class Element(NamedTuple):
    """One DER element; `raw` is all of it, `body` what is inside."""

    tag: int
    body: bytes
    raw: bytes

    def children(self) -> list[Element]:
        """The elements inside a constructed one."""
        return list(elements(self.body))

    def child(self, index: int, tag: int) -> Element:
        """A child that must be there and have this tag."""
        inside = self.children()
        if not 0 <= index < len(inside) or inside[index].tag != tag:
            raise BadMessage(f"child {index} of {self.tag:#x} is not {tag:#x}")
        return inside[index]


def elements(data: bytes) -> Iterator[Element]:
    """Split DER into its elements.

    >>> [(e.tag, e.body.hex()) for e in elements(bytes.fromhex("020105" "0400"))]
    [(2, '05'), (4, '')]
    """
    position = 0
    while position < len(data):
        start, tag = position, data[position]
        length = data[position + 1] if position + 1 < len(data) else 0x80
        position += 2
        if length > 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        elif length == 0x80:
            raise BadMessage("an element without a length")
        if position + length > len(data):
            raise BadMessage("an element that is longer than what holds it")
        position += length
        yield Element(tag, data[position - length : position], data[start:position])
