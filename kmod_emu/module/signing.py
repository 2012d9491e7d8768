"""The signature appended to a module (kernel/module/signing.c, crypto/asymmetric_keys/pkcs7_parser.c).

There are no keys here, so a well-formed signature is one whose key is unavailable, which the kernel tolerates
unless signatures are enforced.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.module.errors import LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = b"~Module signature appended~\n"
_TRAILER = struct.Struct(">BBBBB3sI")  # algo, hash, id_type, signer_len, key_id_len, pad, sig_len
_PKEY_ID_PKCS7 = 2
_DER_SEQUENCE = 0x30
_OID_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


def split_signature(blob: bytes, printk: Callable[[int, str], None]) -> tuple[bytes, bytes | None]:
    """Split a file into the module and its PKCS#7 signature, None if it has none (mod_verify_sig).

    Args:
        blob: The file.
        printk: Takes a line for dmesg that does not refuse the module.

    Raises:
        LoadError: EBADMSG, the trailer makes no sense.
    """
    if len(blob) <= len(MARKER) or not blob.endswith(MARKER):
        return blob, None
    length = len(blob) - len(MARKER)
    if length <= _TRAILER.size:
        raise LoadError(errno.EBADMSG)
    algo, hash_, id_type, signer, key_id, pad, size = _TRAILER.unpack_from(blob, length - _TRAILER.size)
    length -= _TRAILER.size
    if size >= length:
        raise LoadError(errno.EBADMSG)
    if id_type != _PKEY_ID_PKCS7:
        printk(3, "module: not signed with expected PKCS#7 message")
        return blob[: -len(MARKER)], None  # ENOPKG is tolerated, and only the marker has been taken off
    if algo or hash_ or signer or key_id or any(pad):
        raise LoadError(
            errno.EBADMSG, "", (3, "module: PKCS#7 signature info has unexpected non-zero params")
        )
    return blob[: length - size], blob[length - size : length]


def verify(module: bytes, signature: bytes) -> str:
    """What the kernel would make of a signature.

    Returns:
        "signed by an unknown key": there are no keys here to trust.

    Raises:
        LoadError: EBADMSG, it is no PKCS#7 SignedData message.
    """
    if signature[:1] != bytes([_DER_SEQUENCE]) or _OID_SIGNED_DATA not in signature[:32]:
        raise LoadError(errno.EBADMSG)
    return "signed by an unknown key"
