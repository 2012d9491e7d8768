"""Signature trailers (SPEC A2 step 1)."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.module.errors import LoadError
from kmod_emu.module.signing import MARKER, split_signature, verify
from tests.module.linking import module_file

MODULE = b"\x7fELF" + bytes(200)
# The outermost elements of a PKCS#7 message: SEQUENCE { OBJECT IDENTIFIER signedData, ... }
PKCS7 = bytes.fromhex("300d06092a864886f70d010702a000")


def trailer(
    size: int, *, algo: int = 0, hash_: int = 0, id_type: int = 2, signer: int = 0, key: int = 0
) -> bytes:
    return struct.pack(">BBBBB3xI", algo, hash_, id_type, signer, key, size) + MARKER


def silent(level: int, line: str) -> None:
    raise AssertionError(f"<{level}>{line}")


def examine(blob: bytes) -> None:
    module, signature = split_signature(blob, silent)
    assert signature is not None
    verify(module, signature, [])


def refusal(blob: bytes) -> tuple[int, tuple[tuple[int, str], ...]]:
    with pytest.raises(LoadError) as error:
        split_signature(blob, silent)
    return error.value.errno, error.value.dmesg


def test_unsigned_file_is_left_alone(hello: bytes) -> None:
    assert split_signature(hello, silent) == (hello, None)


def test_marker_alone_is_too_short_to_be_one() -> None:
    assert split_signature(MARKER, silent) == (MARKER, None)


def test_signature_is_cut_off() -> None:
    assert split_signature(MODULE + PKCS7 + trailer(len(PKCS7)), silent) == (MODULE, PKCS7)


def test_broken_marker_is_an_unsigned_module() -> None:
    """Case signed:notail: the file loaded, tainted."""
    blob = (MODULE + PKCS7 + trailer(len(PKCS7)))[:-1]
    assert split_signature(blob, silent) == (blob, None)


@pytest.mark.parametrize("length", [1, 12])
def test_no_room_for_the_trailer(length: int) -> None:
    assert refusal(bytes(length) + MARKER) == (errno.EBADMSG, ())


def test_size_must_leave_something_of_the_module() -> None:
    assert refusal(MODULE + trailer(len(MODULE))) == (errno.EBADMSG, ())
    assert split_signature(MODULE + trailer(len(MODULE) - 1), silent) == (MODULE[:1], MODULE[1:])


def test_size_is_checked_before_the_rest() -> None:
    assert refusal(MODULE + trailer(0xFFFFFFFF, id_type=0)) == (errno.EBADMSG, ())


def test_other_kind_of_signature_is_passed_over() -> None:
    lines: list[tuple[int, str]] = []
    blob = MODULE + bytes(16) + trailer(16, id_type=1)
    assert split_signature(blob, lambda *line: lines.append(line)) == (blob[: -len(MARKER)], None)
    assert lines == [(3, "module: not signed with expected PKCS#7 message")]


@pytest.mark.parametrize("field", ["algo", "hash_", "signer", "key"])
def test_pkcs7_needs_zeros_elsewhere(field: str) -> None:
    line = (3, "module: PKCS#7 signature info has unexpected non-zero params")
    assert refusal(MODULE + trailer(16, **{field: 1})) == (errno.EBADMSG, (line,))


@pytest.mark.parametrize("name", ["sig_len", "sig_garbage"])
def test_recorded_bad_signatures(name: str) -> None:
    with pytest.raises(LoadError) as error:
        examine(module_file(name))
    assert (error.value.errno, error.value.dmesg) == (errno.EBADMSG, ())


@given(st.binary(max_size=60), st.binary(max_size=24))
def test_hostile_trailers_are_refused_or_split(front: bytes, back: bytes) -> None:
    blob = front + back + MARKER
    try:
        module, signature = split_signature(blob, lambda level, line: None)
    except LoadError:
        return
    assert blob.startswith(module + (signature or b""))
