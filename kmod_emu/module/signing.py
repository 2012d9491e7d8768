"""The signature appended to a module (kernel/module/signing.c).

A module without one that counts taints; a kernel that enforces signatures, or is locked down, refuses it.
The only key a kernel trusts here is the one its distribution built it with, where the profile has its
certificate: then the distribution's own modules are as good as on the real kernel.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi.der import BadMessage
from kmod_emu.kernel.exports import export
from kmod_emu.module.errors import LoadError
from kmod_emu.module.modules import Modules
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.kernel.kernel import KernelCore

MARKER = b"~Module signature appended~\n"
_TRAILER = struct.Struct(">BBBBB3sI")  # algo, hash, id_type, signer_len, key_id_len, pad, sig_len
_PKEY_ID_PKCS7 = 2
TRUSTED = "signed by a trusted key"
UNKNOWN_KEY, UNSIGNED, NOT_LOOKED_AT = "signed by an unknown key", "unsigned", "not looked at"
NO_PKCS7 = "signed with something else than PKCS#7"
_REASONS = {UNKNOWN_KEY: "module with unavailable key", NO_PKCS7: "module with unsupported crypto"}


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


def verify(module: bytes, signature: bytes, certificates: Sequence[bytes]) -> str:
    """Check a signature against the keys that the kernel was built with (verify_pkcs7_signature).

    Args:
        module: The file without its signature.
        signature: The PKCS#7 message.
        certificates: X.509 certificates as DER.

    Returns:
        TRUSTED, or UNKNOWN_KEY (ENOKEY, which is tolerated).

    Raises:
        LoadError: EBADMSG, it is no such message; EKEYREJECTED, the module is not what was signed.
    """
    from kmod_emu.module import pkcs7

    try:
        parsed = pkcs7.parse_signature(signature)
    except BadMessage as bad:
        raise LoadError(errno.EBADMSG, f"the module's signature makes no sense: {bad}") from None
    for der in certificates:
        try:
            certificate = pkcs7.parse_certificate(der)
        except BadMessage:
            continue  # of a kind that is not implemented, so its key is not known
        if (certificate.issuer, certificate.serial) == (parsed.issuer, parsed.serial):
            if pkcs7.matches(module, parsed, certificate):
                return TRUSTED
            raise LoadError(errno.EKEYREJECTED, "the module was changed after it was signed")
    return UNKNOWN_KEY


def may_be_untrusted(kernel: KernelCore, outcome: str) -> None:
    """Whether a module that no trusted key has signed is tolerated (module_sig_check).

    Raises:
        LoadError: EKEYREJECTED, signatures are enforced.
        KernelError: EPERM, the kernel is locked down.
    """
    if kernel[Modules].sig_enforce:
        reason = _REASONS.get(outcome, "unsigned module")
        raise LoadError(errno.EKEYREJECTED, "", (5, f"Loading of {reason} is rejected"))
    kernel.lockdown.check("unsigned module loading")


@export("bool is_module_sig_enforced(void)")
def is_module_sig_enforced(kernel: KernelCore) -> int:
    """Whether only signed modules are loaded."""
    return int(kernel[Modules].sig_enforce)
