"""The signature fields of modinfo."""

import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu import samples
from kmod_emu.kmod.modinfo import modinfo
from kmod_emu.kmod.signature import MARKER, find_signature

HELLO = samples.path("hello").read_bytes()
SHA256, SHA3 = "608648016503040201", "608648016503040208"


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def oid(text: str) -> bytes:
    return der(0x06, bytes.fromhex(text))


def signed_data(digest: str = SHA256, signer: bytes = b"Build key", by_key_id: bool = False) -> bytes:
    """PKCS#7 as the kernel's sign-file makes it: no certificate, no attributes."""
    algorithm = der(0x30, oid(digest), der(0x05))
    organisation = der(0x31, der(0x30, oid("55040a"), der(0x0C, b"Example")))
    issuer = der(0x30, organisation, der(0x31, der(0x30, oid("550403"), der(0x0C, signer))))
    identity = der(0x80, b"key id") if by_key_id else der(0x30, issuer, der(0x02, b"\x12\x34\xab"))
    encryption = der(0x30, oid("2a864886f70d010101"), der(0x05))
    info = der(0x30, der(0x02, b"\1"), identity, algorithm, encryption, der(0x04, bytes(range(45))))
    content = der(0x30, oid("2a864886f70d010701"))
    data = der(0x30, der(0x02, b"\1"), der(0x31, algorithm), content, der(0x31, info))
    return der(0x30, oid("2a864886f70d010702"), der(0xA0, data))


def signed(signature: bytes, numbers=(0, 0, 2), signer: bytes = b"", key: bytes = b"") -> bytes:
    """hello.ko with a signature behind it; `numbers` are algorithm, digest, kind."""
    trailer = struct.pack(">5B3xI", *numbers, len(signer), len(key), len(signature))
    return HELLO + signer + key + signature + trailer + MARKER


# File -> what kmod 30 printed about its signature.
RECORDED = {
    "pkcs7": (
        signed(signed_data()),
        "sig_id:         PKCS#7\n"
        "signer:         Build key\n"
        "sig_key:        12:34:AB\n"
        "sig_hashalgo:   sha256\n"
        "signature:      00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:\n"
        "\t\t14:15:16:17:18:19:1A:1B:1C:1D:1E:1F:20:21:22:23:24:25:26:27:\n"
        "\t\t28:29:2A:2B:2C\n",
    ),
    "x509": (
        signed(b"sign", (1, 4, 1), b"Signer name", b"\1\2\xff"),
        "sig_id:         X509\nsigner:         Signer name\nsig_key:        01:02:FF\n"
        "sig_hashalgo:   sha256\nsignature:      73:69:67:6E\n",
    ),
    "pgp": (
        signed(b"x", (0, 0, 0)),
        "sig_id:         PGP\nsigner:         \nsig_key:        \nsig_hashalgo:   md4\nsignature:      78\n",
    ),
    "unknown_digest": (signed(signed_data(SHA3)), ""),
    "key_identifier": (signed(signed_data(by_key_id=True)), ""),
    "unknown_numbers": (signed(b"x", (9, 9, 9)), ""),
    "garbage": (signed(b"no DER at all"), ""),
    "no_signature": (HELLO, ""),
}


def about_signature(text: str) -> str:
    return text[text.index("sig_id:") :] if "sig_id:" in text else ""


@pytest.mark.parametrize("name", RECORDED)
def test_fields(name, tmp_path):
    path = tmp_path / "m.ko"
    blob, wanted = RECORDED[name]
    path.write_bytes(blob)
    ours = "".join(modinfo(str(path)))
    assert about_signature(ours) == wanted
    real = shutil.which("modinfo", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if real is not None:  # else the recording stands alone
        assert ours == subprocess.run([real, path], capture_output=True, text=True, check=True).stdout


def test_a_signers_name_is_escaped(tmp_path):
    path = tmp_path / "m.ko"
    path.write_bytes(signed(signed_data(signer=b"\x1b[2J")))
    assert "".join(modinfo(str(path), "signer")) == "\\x1b[2J\n"


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_signatures_are_no_signatures(changes):
    blob = bytearray(signed(signed_data())[len(HELLO) :])
    for position, value in changes:
        blob[position % len(blob)] = value
    found = find_signature(bytes(blob))
    assert found is None or found.id_type in ("PGP", "X509", "PKCS#7")


@given(st.binary(max_size=80))
def test_anything_before_the_marker(data):
    find_signature(data + MARKER)
    find_signature(data)
