"""Types of keys, readers of certificates, keyrings (security/keys/, crypto/asymmetric_keys/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi.der import BadMessage, elements
from kmod_emu.drivers.core import error_pointer
from kmod_emu.drivers.registration import Family, declare
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.der import Element
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_TYPES = (
    "keyring", "user", "logon", "big_key", "encrypted", "trusted", "asymmetric", "blacklist",
    ".request_key_auth",
)  # fmt: skip
_COMMON_NAME, _ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
_EMAIL, _KEY_ID = bytes.fromhex("2a864886f70d010901"), bytes.fromhex("551d0e")
_REVOKED = 1 << 2  # KEY_FLAG_REVOKED
_OID, _SEQUENCE, _VERSION, _EXTENSIONS = 0x06, 0x30, 0xA0, 0xA3

declare(
    __name__,
    Family(
        "type of keys", "int register_key_type(struct key_type *ktype)",
        "void unregister_key_type(struct key_type *ktype)", "key_type.name", own=_TYPES,
        says=("<5>Key type {} registered", "<5>Key type {} unregistered"),
    ),
    Family(
        "reader of keys", "int register_asymmetric_key_parser(struct asymmetric_key_parser *parser)",
        "void unregister_asymmetric_key_parser(struct asymmetric_key_parser *parser)",
        "asymmetric_key_parser.name", own=("x509",),
        says=("<5>Asymmetric key parser '{}' registered", "<5>Asymmetric key parser '{}' unregistered"),
        taken_says="<3>Asymmetric key parser '{}' already registered",
    ),
)  # fmt: skip


def describe_certificate(der: bytes) -> str:
    """What the kernel calls the key of an X.509 certificate: whose it is, and its number.

    Raises:
        BadMessage: It is none.
    """
    certificate = next(elements(der), None)
    if certificate is None or certificate.tag != _SEQUENCE:
        raise BadMessage("no certificate")
    fields = certificate.child(0, _SEQUENCE).children()
    if fields and fields[0].tag == _VERSION:
        fields = fields[1:]
    if len(fields) < 6:
        raise BadMessage("no certificate")
    number = _subject_key_id(fields) or fields[0].body
    return f"{_name(fields[4])}: {number.hex()}"


def _name(subject: Element) -> str:
    """x509_fabricate_name(): its name, with the organisation's before it, or its address."""
    parts: dict[bytes, str] = {}
    for rdn in subject.children():
        for attribute in rdn.children():
            oid, value = attribute.children()[:2]
            parts[oid.body] = value.body.decode("utf-8", "backslashreplace")
    name, organization = parts.get(_COMMON_NAME, ""), parts.get(_ORGANIZATION, "")
    if name and organization and not name.startswith(organization[:7]):
        return f"{organization}: {name}"
    return name or organization or parts.get(_EMAIL, "")


def _subject_key_id(fields: list[Element]) -> bytes:
    for field in fields:
        if field.tag == _EXTENSIONS:
            for extension in field.child(0, _SEQUENCE).children():
                inside = extension.children()
                if inside[0].body == _KEY_ID:
                    return next(elements(inside[-1].body)).body
    return b""


def _new_key(kernel: KernelCore, description: str) -> int:
    size = kernel.profile.struct("key").size
    text = description.encode("utf-8", "surrogateescape") + b"\0"
    key = kernel.view("key", kernel.heap.kmalloc(size + len(text)))
    kernel.memory.write(key.address + size, text)
    key.usage, key.description = 1, key.address + size
    return key.address


def _links(kernel: KernelCore, key: int) -> int:
    """Where a keyring has its newest key, and a key the one before it."""
    return kernel.view("key", key).addressof("payload")


@export(
    "struct key *keyring_alloc(const char *description, kuid_t uid, kgid_t gid, const struct cred *cred,"
    " key_perm_t perm, unsigned long flags, struct key_restriction *restrict_link, struct key *dest)",
    Fidelity.REGISTRATION,
)
def keyring_alloc(
    kernel: KernelCore,
    description: str,
    uid: int,
    gid: int,
    cred: int,
    perm: int,
    flags: int,
    restrict_link: int,
    dest: int,
) -> int:
    """A keyring: a name that keys are put into (security/keys/keyring.c)."""
    return _new_key(kernel, description)


@export(
    "key_ref_t key_create_or_update(key_ref_t keyring_ref, const char *type, const char *description,"
    " const void *payload, size_t plen, key_perm_t perm, unsigned long flags)",
    Fidelity.REGISTRATION,
)
def key_create_or_update(
    kernel: KernelCore,
    keyring_ref: int,
    type: str,
    description: int,
    payload: int,
    plen: int,
    perm: int,
    flags: int,
) -> int:
    """A key in a keyring; a certificate says itself what it is called (security/keys/key.c)."""
    if type not in _TYPES:
        return error_pointer(-errno.ENODEV)
    if description:
        text = kernel.memory.read_text(description)
    else:
        try:
            text = describe_certificate(kernel.memory.read(payload, plen))
        except (BadMessage, IndexError, StopIteration):
            return error_pointer(-errno.EBADMSG)
    key = _new_key(kernel, text)
    kernel.view("key", key).usage += 1  # the ring's
    first = _links(kernel, keyring_ref & ~1)
    kernel.memory.write_u64(_links(kernel, key), kernel.memory.read_u64(first))
    kernel.memory.write_u64(first, key)
    return key | keyring_ref & 1


@export("void key_put(struct key *key)", Fidelity.REGISTRATION)
def key_put(kernel: KernelCore, key: int) -> None:
    """The last reference frees it; a keyring gives back what it has (security/keys/key.c)."""
    while key:
        view, following = kernel.view("key", key), kernel.memory.read_u64(_links(kernel, key))
        view.usage -= 1
        if view.usage:
            return
        kernel.heap.kfree(key)
        key = following


@export("void key_revoke(struct key *key)", Fidelity.REGISTRATION)
def key_revoke(kernel: KernelCore, key: StructView) -> None:
    """Nobody is to use it any more; it stays until the last reference goes (security/keys/key.c)."""
    key.flags |= _REVOKED
