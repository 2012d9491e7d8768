"""Signatures on the NIST curves: the examples of RFC 6979, and what is none."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.abi import profile
from kmod_emu.module.ecdsa import CURVES, EcKey, verify
from kmod_emu.module.pkcs7 import parse_certificate

P256, P384 = CURVES.values()
# Curve, public key and signature of SHA-256("sample") (RFC 6979, A.2.5 and A.2.6).
EXAMPLES = {
    "P-256": (
        P256,
        0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
        0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    "P-384": (
        P384,
        0xEC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13,
        0x8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720,
        0x21B13D1E013C7FA1392D03C5F99AF8B30C570C6F98D4EA8E354B63A21D3DAA33BDE1E888E63355D92FA2B3C36D8FB2CD,
        0xF3AA443FB107745BF4BD77CB3891674632068A10CA67E3D45DB2266FA7D1FEEBEFDC63ECCD1AC42EC0CB8668A4FA0AB0,
    ),
}
DIGEST = hashlib.sha256(b"sample").digest()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_published_signature_is_good(name):
    curve, x, y, r, s = EXAMPLES[name]
    assert verify(EcKey(curve, x, y), DIGEST, r, s)


@pytest.mark.parametrize("name", EXAMPLES)
def test_everything_else_is_bad(name):
    curve, x, y, r, s = EXAMPLES[name]
    key = EcKey(curve, x, y)
    assert not verify(key, hashlib.sha256(b"Sample").digest(), r, s)
    assert not verify(key, DIGEST, s, r)
    assert not verify(key, DIGEST, r, s + 1)
    assert not verify(EcKey(curve, x, y + 1), DIGEST, r, s)
    for bad in (0, curve.n, -1, curve.n + 5):
        assert not verify(key, DIGEST, bad, s)
        assert not verify(key, DIGEST, r, bad)


@given(r=st.integers(0, P256.n), s=st.integers(0, P256.n), digest=st.binary(max_size=64))
def test_random_numbers_are_no_signature(r, s, digest):
    curve, x, y, *_ = EXAMPLES["P-256"]
    assert not verify(EcKey(curve, x, y), digest, r, s)


@pytest.mark.parametrize("series", ["6.12", "7.2"])
def test_newer_kernels_sign_on_p384(series):
    (certificate,) = profile.load(series).certificates
    key = parse_certificate(certificate).key
    assert isinstance(key, EcKey)
    assert key.curve is P384
