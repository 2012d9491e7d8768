"""PKCS#7 signatures of modules: parsing, and checking them by RSA (crypto/asymmetric_keys/).

Modules are signed by `sign-file`: one signer, no certificates, no attributes, so the RSA signature is over
the module's digest itself. Only what such a message needs of DER is read.
"""

from __future__ import annotations

from typing import NamedTuple

from kmod_emu.abi.der import (
    BIT_STRING,
    CONTEXT_0,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    SIGNED_DATA,
    BadMessage,
    Element,
    elements,
)

_DIGESTS = {
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}


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
    outer = _first(message, SEQUENCE)
    if outer.child(0, OID).body != SIGNED_DATA:
        raise BadMessage("no SignedData message")
    signed = outer.child(1, CONTEXT_0).child(0, SEQUENCE)
    parts = signed.children()
    signer = signed.child(len(parts) - 1, SET).child(0, SEQUENCE)
    name = signer.child(1, SEQUENCE)
    algorithm = signer.child(2, SEQUENCE).child(0, OID).body
    if algorithm not in _DIGESTS:
        raise BadMessage("an unknown digest algorithm")
    serial = int.from_bytes(name.child(1, INTEGER).body, "big")
    return Signature(
        name.child(0, SEQUENCE).raw, serial, _DIGESTS[algorithm], signer.child(4, OCTET_STRING).body
    )


def parse_certificate(der: bytes) -> Certificate:
    """Read an X.509 certificate with an RSA key.

    Raises:
        BadMessage: It is none.
    """
    fields = _first(der, SEQUENCE).child(0, SEQUENCE).children()
    if fields and fields[0].tag == CONTEXT_0:  # the version, which is optional
        fields = fields[1:]
    if len(fields) < 6:
        raise BadMessage("no certificate")
    serial, issuer, key = fields[0], fields[2], fields[5]
    rsa = _first(key.child(1, BIT_STRING).body[1:], SEQUENCE)
    modulus, exponent = (int.from_bytes(rsa.child(index, INTEGER).body, "big") for index in (0, 1))
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
    algorithm = _der(SEQUENCE, _der(OID, oid) + _der(5, b""))
    digest = _der(OCTET_STRING, hashlib.new(signature.digest, data).digest())
    tail = b"\0" + _der(SEQUENCE, algorithm + digest)
    return plain.to_bytes(size, "big") == b"\0\1" + b"\xff" * (size - 2 - len(tail)) + tail


def _der(tag: int, body: bytes) -> bytes:
    """A short DER element."""
    return bytes((tag, len(body))) + body
