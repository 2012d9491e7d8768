"""A key of the tests' own, its certificate, and signatures made with it, as sign-file makes them."""

import hashlib
import random
from functools import cache

SIGNED_DATA, DATA = bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d010701")
SHA256, RSA = bytes.fromhex("608648016503040201"), bytes.fromhex("2a864886f70d010101")


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def prime(source: random.Random, bits: int) -> int:
    """A number that Fermat takes for a prime; good enough for a key that signs a test."""
    while True:
        candidate = source.getrandbits(bits) | 1 | 3 << bits - 2
        if candidate % 65537 != 1 and all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5)):
            return candidate


@cache
def key() -> tuple[int, int]:
    """(modulus, private exponent)."""
    source = random.Random(1)
    p, q = prime(source, 384), prime(source, 384)
    return p * q, pow(65537, -1, (p - 1) * (q - 1))


NAME = der(0x30, der(0x31, der(0x30, der(6, b"\x55\x04\x03"), der(12, b"test key"))))
ALGORITHM = der(0x30, der(6, SHA256))


def certificate(serial: int = 7) -> bytes:
    bits = der(3, b"\0", der(0x30, integer(key()[0]), integer(65537)))
    dates = der(0x30)
    fields = [der(0xA0, integer(2)), integer(serial), der(0x30, der(6, RSA)), NAME, dates, NAME]
    return der(0x30, der(0x30, *fields, der(0x30, der(0x30, der(6, RSA)), bits)), der(0x30), der(3, b"\0"))


def signature(data: bytes, serial: int = 7) -> bytes:
    modulus, private = key()
    size = (modulus.bit_length() + 7) // 8
    info = der(0x30, der(0x30, der(6, SHA256), der(5)), der(4, hashlib.sha256(data).digest()))
    padded = b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
    value = pow(int.from_bytes(padded, "big"), private, modulus).to_bytes(size, "big")
    signer = der(
        0x30, integer(1), der(0x30, NAME, integer(serial)), ALGORITHM, der(0x30, der(6, RSA)), der(4, value)
    )
    signed = der(0x30, integer(1), der(0x31, ALGORITHM), der(0x30, der(6, DATA)), der(0x31, signer))
    return der(0x30, der(6, SIGNED_DATA), der(0xA0, signed))
