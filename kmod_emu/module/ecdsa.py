"""Elliptic curve signatures (crypto/ecdsa.c), on the NIST curves that kernels sign modules with."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CURVES", "Curve", "EcKey", "verify"]


class Curve(NamedTuple):
    """y^2 = x^3 - 3x + b modulo p, with a base point (x, y) of prime order n."""

    p: int
    b: int
    x: int
    y: int
    n: int


class EcKey(NamedTuple):
    """A public key: a point on a curve."""

    curve: Curve
    x: int
    y: int


# Object identifier -> curve (SEC 2).
CURVES = {
    bytes.fromhex("2a8648ce3d030107"): Curve(
        p=2**256 - 2**224 + 2**192 + 2**96 - 1,
        b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        x=0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        y=0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        n=0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    bytes.fromhex("2b81040022"): Curve(
        p=2**384 - 2**128 - 2**96 + 2**32 - 1,
        b=int(
            "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875A"
            "C656398D8A2ED19D2A85C8EDD3EC2AEF",
            16,
        ),
        x=int(
            "AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A38"
            "5502F25DBF55296C3A545E3872760AB7",
            16,
        ),
        y=int(
            "3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C0"
            "0A60B1CE1D7E819D7A431D7C90EA0E5F",
            16,
        ),
        n=int(
            "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF"
            "581A0DB248B0A77AECEC196ACCC52973",
            16,
        ),
    ),
}

_Point = tuple[int, int, int]  # (X, Y, Z) stands for (X/Z^2, Y/Z^3); Z = 0 is the neutral element
_NEUTRAL: _Point = (0, 1, 0)


def verify(key: EcKey, digest: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature of a digest by a key."""
    curve = key.curve
    if not (0 < r < curve.n and 0 < s < curve.n and _is_on(curve, key.x, key.y)):
        return False
    order_bits = curve.n.bit_length()
    number = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - order_bits)
    inverse = pow(s, -1, curve.n)
    x, _, z = _sum_of_multiples(
        curve, number * inverse % curve.n, (curve.x, curve.y, 1), r * inverse % curve.n, (key.x, key.y, 1)
    )
    return z != 0 and x * pow(z, -2, curve.p) % curve.p % curve.n == r


def _is_on(curve: Curve, x: int, y: int) -> bool:
    return 0 <= x < curve.p and 0 <= y < curve.p and (y * y - x * x * x + 3 * x - curve.b) % curve.p == 0


def _sum_of_multiples(curve: Curve, u: int, first: _Point, v: int, second: _Point) -> _Point:
    """The sum of u * first and v * second, made at once."""
    table = (_NEUTRAL, first, second, _add(curve, first, second))
    result = _NEUTRAL
    for bit in range(curve.n.bit_length() - 1, -1, -1):
        result = _double(curve, result)
        chosen = (u >> bit & 1) | (v >> bit & 1) << 1
        if chosen:
            result = _add(curve, result, table[chosen])
    return result


def _double(curve: Curve, point: _Point) -> _Point:
    x, y, z = point
    p = curve.p
    if not y or not z:
        return _NEUTRAL
    square = y * y % p
    product = 4 * x * square % p
    zz = z * z % p
    slope = 3 * (x - zz) * (x + zz) % p
    new_x = (slope * slope - 2 * product) % p
    return new_x, (slope * (product - new_x) - 8 * square * square) % p, 2 * y * z % p


def _add(curve: Curve, left: _Point, right: _Point) -> _Point:
    if not left[2]:
        return right
    if not right[2]:
        return left
    p = curve.p
    (x1, y1, z1), (x2, y2, z2) = left, right
    z1z1, z2z2 = z1 * z1 % p, z2 * z2 % p
    u1, u2 = x1 * z2z2 % p, x2 * z1z1 % p
    s1, s2 = y1 * z2 * z2z2 % p, y2 * z1 * z1z1 % p
    if u1 == u2:
        return _double(curve, left) if s1 == s2 else _NEUTRAL
    h, slope = u2 - u1, s2 - s1
    h2 = h * h % p
    h3 = h * h2 % p
    x = (slope * slope - h3 - 2 * u1 * h2) % p
    return x, (slope * (u1 * h2 - x) - s1 * h3) % p, h * z1 * z2 % p
