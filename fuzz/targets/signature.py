"""What is behind a module: the signature's PKCS#7 message, and certificates in DER."""

from contextlib import suppress

from kmod_emu.kmod.signature import find_signature
from kmod_emu.module.pkcs7 import BadMessage, matches, parse_certificate, parse_signature
from kmod_emu.module.signing import MARKER
from tests.module import signer

EXPECTED = (BadMessage,)


def seeds():
    return [signer.signature(b"data"), signer.certificate()]


def start():
    certificate = parse_certificate(signer.certificate())

    def run(data):
        find_signature(data + bytes([0, 4, 2, 0, 0, 0, 0, 0, *len(data).to_bytes(4, "big")]) + MARKER)
        with suppress(BadMessage):
            parse_certificate(data)
        matches(b"data", parse_signature(data), certificate)

    return run
