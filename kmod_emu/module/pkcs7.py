"""PKCS#7 signatures of modules: parsing, and checking them by RSA or ECDSA (crypto/asymmetric_keys/).

Modules are signed by `sign-file`: one signer, no certificates, no attributes, so the signature is over the
module's digest itself. Only what such a message needs of DER is read.
"""

from __future__ import annotations

from functools import lru_cache
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
from kmod_emu.module import ecdsa

_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
_UNCOMPRESSED = 4
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
        value: What the key made of the digest.
    """

    issuer: bytes
    serial: int
    digest: str
    value: bytes


class RsaKey(NamedTuple):
    """A public key."""

    modulus: int
    exponent: int


class Certificate(NamedTuple):
    """The part of an X.509 certificate that signatures need."""

    issuer: bytes
    serial: int
    key: RsaKey | ecdsa.EcKey


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
    """Read an X.509 certificate with an RSA key or an elliptic curve key.

    Raises:
        BadMessage: It is none.
    """
    fields = _first(der, SEQUENCE).child(0, SEQUENCE).children()
    if fields and fields[0].tag == CONTEXT_0:  # the version, which is optional
        fields = fields[1:]
    if len(fields) < 6:
        raise BadMessage("no certificate")
    serial, issuer, key = fields[0], fields[2], fields[5]
    return Certificate(issuer.raw, int.from_bytes(serial.body, "big"), _parse_key(key))


def _parse_key(key: Element) -> RsaKey | ecdsa.EcKey:
    """A SubjectPublicKeyInfo."""
    algorithm, bits = key.child(0, SEQUENCE), key.child(1, BIT_STRING).body[1:]
    if algorithm.child(0, OID).body == _EC_PUBLIC_KEY:
        curve = ecdsa.CURVES.get(algorithm.child(1, OID).body)
        if curve is None or not bits or bits[0] != _UNCOMPRESSED:
            raise BadMessage("a key on an unknown curve")
        half = len(bits) // 2
        return ecdsa.EcKey(
            curve, int.from_bytes(bits[1 : half + 1], "big"), int.from_bytes(bits[half + 1 :], "big")
        )
    return RsaKey(*_integers(bits))


def _integers(der: bytes) -> tuple[int, int]:
    """A sequence of two integers."""
    pair = _first(der, SEQUENCE)
    first, second = (int.from_bytes(pair.child(index, INTEGER).body, "big") for index in (0, 1))
    return first, second


def _first(data: bytes, tag: int) -> Element:
    element = next(elements(data), None)
    if element is None or element.tag != tag:
        raise BadMessage(f"no element {tag:#x}")
    return element


def matches(data: bytes, signature: Signature, certificate: Certificate) -> bool:
    """Whether the signature over `data` was made with the certificate's key."""
    import hashlib

    digest = hashlib.new(signature.digest, data).digest()
    key = certificate.key
    if isinstance(key, ecdsa.EcKey):
        try:
            return ecdsa.verify(key, digest, *_integers(signature.value))
        except BadMessage:
            return False
    return _rsa_matches(key, signature, digest)


@lru_cache(maxsize=1024)
def _power(value: bytes, exponent: int, modulus: int) -> int:
    """The costly part, remembered: a sweep loads what many modules need again and again."""
    return pow(int.from_bytes(value, "big"), exponent, modulus)


def _rsa_matches(key: RsaKey, signature: Signature, digest: bytes) -> bool:
    """PKCS#1 v1.5."""
    size = (key.modulus.bit_length() + 7) // 8
    plain = _power(signature.value, key.exponent, key.modulus)
    oid = next(oid for oid, name in _DIGESTS.items() if name == signature.digest)
    algorithm = _der(SEQUENCE, _der(OID, oid) + _der(5, b""))
    tail = b"\0" + _der(SEQUENCE, algorithm + _der(OCTET_STRING, digest))
    return plain.to_bytes(size, "big") == b"\0\1" + b"\xff" * (size - 2 - len(tail)) + tail


def _der(tag: int, body: bytes) -> bytes:
    """A short DER element."""
    return bytes((tag, len(body))) + body
