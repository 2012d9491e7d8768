"""PKCS#7 signatures of modules: parsing, and checking them by RSA (crypto/asymmetric_keys/).

Modules are signed by `sign-file`: one signer, no certificates, no attributes, so the RSA signature is over
the module's digest itself. Only what such a message needs of DER is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTEGER, _BIT_STRING, _OCTET_STRING, _OID, _SEQUENCE, _SET, _CONTEXT_0 = 2, 3, 4, 6, 0x30, 0x31, 0xA0
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_DIGESTS = {
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}


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
        if index >= len(inside) or inside[index].tag != tag:
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


class Signature(NamedTuple):
    """What a module's signature says.

    Attributes:
        issuer: Name of the key's certificate, as DER.
        serial: Its serial number.
        digest: Name of the hash function.
        value: The RSA signature.
    """

    issuer: bytes
    serial: int
    digest: str
    value: bytes


class Certificate(NamedTuple):
    """The part of an X.509 certificate that signatures need."""

    issuer: bytes
    serial: int
    modulus: int
    exponent: int


def parse_signature(message: bytes) -> Signature:
    """Read a SignedData message with one signer.

    Raises:
        BadMessage: It is none.
    """
    outer = _first(message, _SEQUENCE)
    if outer.child(0, _OID).body != _SIGNED_DATA:
        raise BadMessage("no SignedData message")
    signed = outer.child(1, _CONTEXT_0).child(0, _SEQUENCE)
    signers = signed.children()[-1]
    if signers.tag != _SET:
        raise BadMessage("no signers")
    signer = signers.child(0, _SEQUENCE)
    name = signer.child(1, _SEQUENCE)
    algorithm = signer.child(2, _SEQUENCE).child(0, _OID).body
    if algorithm not in _DIGESTS:
        raise BadMessage("an unknown digest algorithm")
    serial = int.from_bytes(name.child(1, _INTEGER).body, "big")
    return Signature(
        name.child(0, _SEQUENCE).raw, serial, _DIGESTS[algorithm], signer.child(4, _OCTET_STRING).body
    )


def parse_certificate(der: bytes) -> Certificate:
    """Read an X.509 certificate with an RSA key.

    Raises:
        BadMessage: It is none.
    """
    fields = _first(der, _SEQUENCE).child(0, _SEQUENCE).children()
    if fields and fields[0].tag == _CONTEXT_0:  # the version, which is optional
        fields = fields[1:]
    if len(fields) < 6:
        raise BadMessage("no certificate")
    serial, issuer, key = fields[0], fields[2], fields[5]
    rsa = _first(key.child(1, _BIT_STRING).body[1:], _SEQUENCE)
    modulus, exponent = (int.from_bytes(rsa.child(index, _INTEGER).body, "big") for index in (0, 1))
    return Certificate(issuer.raw, int.from_bytes(serial.body, "big"), modulus, exponent)


def _first(data: bytes, tag: int) -> Element:
    element = next(elements(data), None)
    if element is None or element.tag != tag:
        raise BadMessage(f"no element {tag:#x}")
    return element


def matches(data: bytes, signature: Signature, certificate: Certificate) -> bool:
    """Whether the signature over `data` was made with the certificate's key (PKCS#1 v1.5)."""
    import hashlib

    size = (certificate.modulus.bit_length() + 7) // 8
    plain = pow(int.from_bytes(signature.value, "big"), certificate.exponent, certificate.modulus)
    oid = next(oid for oid, name in _DIGESTS.items() if name == signature.digest)
    algorithm = _der(_SEQUENCE, _der(_OID, oid) + _der(5, b""))
    digest = _der(_OCTET_STRING, hashlib.new(signature.digest, data).digest())
    tail = b"\0" + _der(_SEQUENCE, algorithm + digest)
    return plain.to_bytes(size, "big") == b"\0\1" + b"\xff" * (size - 2 - len(tail)) + tail


def _der(tag: int, body: bytes) -> bytes:
    """A short DER element."""
    return bytes((tag, len(body))) + body
