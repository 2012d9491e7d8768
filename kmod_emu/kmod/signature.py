"""What modinfo says about the signature at a module's end (kmod 30, libkmod/libkmod-signature.c)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from kmod_emu.abi.der import CONTEXT_0, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, SIGNED_DATA, elements
from kmod_emu.module.signing import MARKER

_TRAILER = struct.Struct(">BBBBB3xI")  # algo, hash, id_type, signer_len, key_id_len, sig_len
_ALGORITHMS = 2  # DSA, RSA
_HASHES = ("md4", "md5", "sha1", "rmd160", "sha256", "sha384", "sha512", "sha224", "sm3")
_ID_TYPES = ("PGP", "X509", "PKCS#7")
_PKCS7 = 2
_BYTES_A_LINE = 20

_COMMON_NAME = bytes.fromhex("550403")
_HASH_OIDS = {
    bytes.fromhex("2a864886f70d0204"): "md4",
    bytes.fromhex("2a864886f70d0205"): "md5",
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("2b24030201"): "rmd160",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("2a811ccf55018311"): "sm3",
}


class Signature(NamedTuple):
    """A module's signature.

    Attributes:
        id_type: What the rest is: "PGP", "X509" or "PKCS#7".
        signer: Who signed, as the file has it: escape it before printing.
        key: The key's identifier; with PKCS#7 the serial number of its certificate.
        hash: Name of the digest.
        signature: The signature proper.
    """

    id_type: str
    signer: bytes
    key: bytes
    hash: str
    signature: bytes


def find_signature(blob: bytes) -> Signature | None:
    """The signature of a module file; None if it has none, or one that cannot be understood.

    >>> find_signature(b"x" + bytes([1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]) + MARKER)
    Signature(id_type='X509', signer=b'', key=b'', hash='sha256', signature=b'x')
    """
    end = len(blob) - len(MARKER) - _TRAILER.size
    if end < 0 or not blob.endswith(MARKER):
        return None
    algorithm, digest, kind, signer_size, key_size, size = _TRAILER.unpack_from(blob, end)
    start = end - size - key_size - signer_size
    if algorithm >= _ALGORITHMS or digest >= len(_HASHES) or kind >= len(_ID_TYPES) or not size or start < 0:
        return None
    if kind == _PKCS7:
        try:
            return _pkcs7(blob[end - size : end])
        except (IndexError, ValueError):
            return None
    signer, key = blob[start : start + signer_size], blob[start + signer_size : end - size]
    return Signature(_ID_TYPES[kind], signer, key, _HASHES[digest], blob[end - size : end])


def hexadecimal(data: bytes, per_line: int | None = None) -> str:
    r"""Bytes with colons between, as modinfo prints keys.

    >>> hexadecimal(b"\x01\xff"), hexadecimal(b"abc", per_line=2)
    ('01:FF', '61:62:\n\t\t63')
    """
    per_line = per_line or len(data) or 1
    lines = (data[i : i + per_line].hex(":").upper() for i in range(0, len(data), per_line))
    return ":\n\t\t".join(lines)


def wrapped(signature: bytes) -> str:
    """The signature's bytes, over several lines."""
    return hexadecimal(signature, _BYTES_A_LINE)


def _pkcs7(blob: bytes) -> Signature:
    """The first signer of a SignedData, RFC 5652; ValueError or IndexError for anything else."""
    content = _members(_expect(_members(blob)[0], SEQUENCE))
    if _expect(content[0], OID) != SIGNED_DATA:
        raise ValueError("no SignedData")
    signed = _members(_expect(_members(_expect(content[1], CONTEXT_0))[0], SEQUENCE))
    signers = _first(signed[::-1], SET)
    info = _members(_expect(_members(signers)[0], SEQUENCE))
    issuer, serial = _members(
        _expect(info[1], SEQUENCE)
    )  # version 3 has a key identifier: kmod shows nothing
    digest = _HASH_OIDS.get(_expect(_members(_expect(info[2], SEQUENCE))[0], OID))
    signature = _first(info, OCTET_STRING)
    if digest is None:
        raise ValueError("no digest that kmod knows")
    signer = _common_name(_expect(issuer, SEQUENCE))
    return Signature(_ID_TYPES[_PKCS7], signer, _expect(serial, INTEGER), digest, signature)


def _common_name(name: bytes) -> bytes:
    for _, attributes in _members(name):
        for _, attribute in _members(attributes):
            kind, value = _members(attribute)
            if kind == (OID, _COMMON_NAME):
                return value[1]
    raise ValueError("the issuer has no common name")


def _first(members: list[tuple[int, bytes]], tag: int) -> bytes:
    return [value for found, value in members if found == tag][0]  # noqa: RUF015 - IndexError, as _pkcs7 promises


def _expect(member: tuple[int, bytes], tag: int) -> bytes:
    if member[0] != tag:
        raise ValueError(f"tag {member[0]:#x} instead of {tag:#x}")
    return member[1]


def _members(data: bytes) -> list[tuple[int, bytes]]:
    """(tag, contents) of each DER element in `data`."""
    return [(element.tag, element.body) for element in elements(data)]
