"""Finding .modinfo as libkmod does, in any file."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu import samples
from kmod_emu.kmod.elf import modinfo_strings
from tests.conftest import RECORDINGS

HELLO = samples.path("hello").read_bytes()


def elf(order: str, bits: int, data: bytes, name: bytes = b".modinfo") -> bytes:
    """A file with two sections: `data`, and the names behind it."""
    names = b"\0" + name + b"\0"
    header = 52 if bits == 32 else 64
    entry, address = ("IIIIIIIIII", "I") if bits == 32 else ("IIQQQQIIQQ", "Q")
    tables = header + len(data) + len(names)
    ident = b"\x7fELF" + bytes([bits // 32, "<>".index(order) + 1, 1]) + bytes(9)
    size = struct.calcsize(order + entry)
    ehdr = struct.pack(f"{order}HHI3{address}I6H", 1, 21, 1, 0, 0, tables, 0, header, 0, 0, size, 3, 2)
    first = struct.pack(order + entry, 1, 1, 2, 0, header, len(data), 0, 0, 1, 0)
    second = struct.pack(order + entry, 0, 3, 0, 0, header + len(data), len(names), 0, 0, 1, 0)
    return ident + ehdr + data + names + bytes(size) + first + second


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [32, 64])
def test_any_machine(order, bits):
    assert modinfo_strings(elf(order, bits, b"license=GPL\0\0\0a=b\0")) == [b"license=GPL", b"a=b"]


def test_a_last_string_without_nul_counts():
    assert modinfo_strings(elf("<", 64, b"a=b\0c")) == [b"a=b", b"c"]


@pytest.mark.parametrize("name", ["hdr_aarch64", "hdr_exec", "sec0_size", "sec_name_beyond", "sec_size_huge"])
def test_files_that_the_kernel_refuses_are_described(name):
    """As the real modinfo does, though insmod of these is ENOEXEC."""
    strings = modinfo_strings((RECORDINGS / "errno-cases" / f"{name}.ko").read_bytes())
    assert b"description=oracle: hello" in strings


@pytest.mark.parametrize(
    ("blob", "number"),
    [
        (b"", errno.ENOEXEC),
        (b"\x7fELF\x02\x01", errno.ENOEXEC),
        (b"\x7fELF\x02\x01" + bytes(30), errno.EINVAL),
        (HELLO[:3000], errno.EINVAL),
        (HELLO[:4] + b"\x09" + HELLO[5:], errno.EINVAL),
        (HELLO[:5] + b"\x09" + HELLO[6:], errno.EINVAL),
        (elf("<", 64, b"a=b\0", name=b".other"), errno.ENOENT),
    ],
)
def test_errors_are_libkmods(blob, number):
    with pytest.raises(OSError, match=r"\[Errno") as error:
        modinfo_strings(blob)
    assert error.value.errno == number


OUTCOMES = (0, errno.ENOEXEC, errno.EINVAL, errno.ENOENT)


def outcome(blob: bytes) -> int | None:
    """The errno, 0 for strings none of which is empty."""
    try:
        return 0 if all(modinfo_strings(blob)) else None
    except OSError as error:
        return error.errno


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8), st.integers(0, 400))
def test_damage_is_an_error_or_harmless(changes, length):
    blob = bytearray(elf("<", 64, b"license=GPL\0author=me\0"))
    for position, value in changes:
        blob[position % len(blob)] = value
    for candidate in (bytes(blob), bytes(blob[:length])):
        assert outcome(candidate) in OUTCOMES


@given(st.binary(max_size=300))
def test_anything_is_an_error_or_harmless(data):
    for blob in (data, b"\x7fELF\x02\x01" + data, b"\x7fELF\x01\x02" + data):
        assert outcome(blob) in OUTCOMES
