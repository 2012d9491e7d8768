"""Checksums and hashes: published check values, the standard library, and definitions bit by bit."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.guest_kernel_stubs.guest_machine import Guest

data_blocks = st.binary(max_size=150)
EINVAL = 22
M32, M64 = 2**32 - 1, 2**64 - 1


@pytest.mark.parametrize(
    ("name", "start", "bits", "invert", "check"),
    [
        ("crc32_le", M32, 32, True, 0xCBF43926),
        ("crc32_be", M32, 32, True, 0xFC891918),
        ("__crc32c_le", M32, 32, True, 0xE3069283),
        ("crc32c", M32, 32, True, 0xE3069283),
        ("crc_ccitt", 0, 16, False, 0x2189),
        ("crc_ccitt_false", 0xFFFF, 16, False, 0x29B1),
        ("crc_t10dif_generic", 0, 16, False, 0xD0DB),
        ("crc_t10dif_update", 0, 16, False, 0xD0DB),
        ("crc64_be", 0, 64, False, 0x6C40DF5F0B497347),
        ("crc64_nvme", 0, 64, False, 0xAE8B14860A799888),
        ("crc64_rocksoft_generic", 0, 64, False, 0xAE8B14860A799888),
        ("crc64_rocksoft_update", 0, 64, False, 0xAE8B14860A799888),
    ],
)
def test_crc_check_values_also_in_pieces(
    guest: Guest, name: str, start: int, bits: int, invert: bool, check: int
) -> None:
    mask = (1 << bits) - 1
    crc = start
    for piece in (b"1234", b"", b"56789"):
        crc = guest.call(name, crc, guest.put(piece), len(piece)) & mask

    assert crc ^ (mask if invert else 0) == check


def test_crcs_without_a_start_value(guest: Guest) -> None:
    text = guest.put(b"123456789")

    assert guest.call("crc_t10dif", text, 9) & 0xFFFF == 0xD0DB
    assert guest.call("crc64_rocksoft", text, 9) == 0xAE8B14860A799888


@given(data=data_blocks, start=st.integers(0, M32))
def test_crc32_le_is_zlibs(machine: Guest, data: bytes, start: int) -> None:
    machine.reset()

    crc = machine.call("crc32_le", start ^ M32, machine.put(data), len(data))

    assert crc ^ M32 == zlib.crc32(data, start)


@given(start=st.integers(0, M32), length=st.integers(0, 40))
def test_crc_shift_is_as_if_zeros_followed(machine: Guest, start: int, length: int) -> None:
    machine.reset()
    zeros = machine.put(bytes(length))

    assert machine.call("crc32_le_shift", start, length) == machine.call("crc32_le", start, zeros, length)
    assert machine.call("__crc32c_le_shift", start, length) == machine.call(
        "__crc32c_le", start, zeros, length
    )


def test_exported_crc_tables(guest: Guest) -> None:
    for name, first_entries in (
        ("crc_ccitt_table", (0, 0x1189, 0x2312)),
        ("crc_ccitt_false_table", (0, 0x1021, 0x2042)),
    ):
        assert guest.unpack("<3H", guest.address(name)) == first_entries


def test_byte_rev_table(guest: Guest) -> None:
    wanted = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

    assert guest.read(guest.address("byte_rev_table"), 256) == wanted


def internet_sum(data: bytes, total: int = 0) -> int:
    """Folded one's-complement sum of little-endian words."""
    data += bytes(len(data) % 2)
    total += sum(struct.unpack(f"<{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(data=data_blocks, start=st.integers(0, M32))
def test_internet_checksum(machine: Guest, data: bytes, start: int) -> None:
    machine.reset()
    block, copy = machine.put(data), machine.put(bytes(len(data)))
    start_sum = internet_sum(struct.pack("<I", start))

    partial = machine.call("csum_partial", block, len(data), start)
    assert internet_sum(struct.pack("<I", partial)) == internet_sum(data, start_sum)
    assert machine.call("ip_compute_csum", block, len(data)) & 0xFFFF == internet_sum(data) ^ 0xFFFF
    copied = machine.call("csum_partial_copy_nocheck", block, copy, len(data))
    assert internet_sum(struct.pack("<I", copied)) == internet_sum(data)
    assert machine.read(copy, len(data)) == data


def test_csum_ipv6_magic_is_the_sum_of_the_pseudo_header(guest: Guest) -> None:
    source, target = bytes(range(16)), bytes(range(100, 116))
    header = source + target + struct.pack(">II", 1280, 17)

    result = guest.call("csum_ipv6_magic", guest.put(source), guest.put(target), 1280, 17, 0x1234)

    assert result & 0xFFFF == internet_sum(header, 0x1234) ^ 0xFFFF


def siphash(data: bytes, key: bytes, c: int, d: int) -> int:
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x: int, n: int) -> int:
        return (x << n | x >> (64 - n)) & M64

    def rounds(n: int) -> None:
        for _ in range(n):
            for a, b, shift, other in (
                (0, 1, 13, True),
                (2, 3, 16, False),
                (0, 3, 21, False),
                (2, 1, 17, True),
            ):
                v[a] = (v[a] + v[b]) & M64
                v[b] = rotate(v[b], shift) ^ v[a]
                if other:
                    v[a] = rotate(v[a], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(c)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(d)
    return int(v[0] ^ v[1] ^ v[2] ^ v[3])


def test_siphash_paper_vector(guest: Guest) -> None:
    key, data = guest.put(bytes(range(16))), guest.put(bytes(range(15)))

    assert guest.call("__siphash_unaligned", data, 15, key) == 0xA129CA6149BE45E5


@given(data=data_blocks, key=st.binary(min_size=16, max_size=16))
def test_siphash_of_blocks(machine: Guest, data: bytes, key: bytes) -> None:
    machine.reset()
    k, block = machine.put(key), machine.put(data)

    assert machine.call("__siphash_unaligned", block, len(data), k) == siphash(data, key, 2, 4)
    short = machine.call("__hsiphash_unaligned", block, len(data), k) & M32
    assert short == siphash(data, key, 1, 3) & M32


@given(values=st.lists(st.integers(0, M64), min_size=4, max_size=4), key=st.binary(min_size=16, max_size=16))
def test_siphash_of_integers_is_that_of_their_bytes(machine: Guest, values: list[int], key: bytes) -> None:
    machine.reset()
    k = machine.put(key)
    for name, layout in (
        ("1u64", "Q"),
        ("2u64", "QQ"),
        ("3u64", "QQQ"),
        ("4u64", "QQQQ"),
        ("1u32", "I"),
        ("3u32", "III"),
    ):
        args = [value & (M64 if "Q" in layout else M32) for value in values[: len(layout)]]
        wanted = siphash(struct.pack(f"<{layout}", *args), key, 2, 4)
        assert machine.call(f"siphash_{name}", *args, k) == wanted
    for n in range(1, 5):
        args = [value & M32 for value in values[:n]]
        wanted = siphash(struct.pack(f"<{n}I", *args), key, 1, 3) & M32
        assert machine.call(f"hsiphash_{n}u32", *args, k) & M32 == wanted


@pytest.mark.parametrize(
    ("data", "short", "long"),
    [
        (b"", 0x02CC5D05, 0xEF46DB3751D8E999),
        (b"abc", 0x32D153FF, 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xE2293B2F, 0xFBCEA83C8A378BF1),
    ],
)
def test_xxhash_vectors(guest: Guest, data: bytes, short: int, long: int) -> None:
    block = guest.put(data)

    assert guest.call("xxh32", block, len(data), 0) & M32 == short
    assert guest.call("xxh64", block, len(data), 0) == long


@pytest.mark.parametrize("bits", [32, 64])
@given(pieces=st.lists(st.binary(max_size=50), max_size=5), seed=st.integers(0, M32))
def test_xxhash_in_pieces(machine: Guest, bits: int, pieces: list[bytes], seed: int) -> None:
    machine.reset()
    state, copy, whole = machine.put(bytes(80)), machine.put(bytes(80)), b"".join(pieces)
    mask = (1 << bits) - 1
    machine.call(f"xxh{bits}_reset", state, seed)
    for piece in pieces:
        assert machine.call_int(f"xxh{bits}_update", state, machine.put(piece), len(piece)) == 0
    machine.call(f"xxh{bits}_copy_state", copy, state)

    digest = machine.call(f"xxh{bits}_digest", copy) & mask

    assert digest == machine.call(f"xxh{bits}", machine.put(whole), len(whole), seed) & mask
    assert machine.call_int(f"xxh{bits}_update", state, 0, 1) == -EINVAL


@pytest.mark.parametrize("name", ["sha256", "sha224"])
@given(pieces=st.lists(st.binary(max_size=100), max_size=4))
def test_sha2(machine: Guest, name: str, pieces: list[bytes]) -> None:
    machine.reset()
    whole, out, ctx = b"".join(pieces), machine.put(bytes(32)), machine.put(b"\xa5" * 112)
    digest = hashlib.new(name, whole).digest()

    machine.call(name, machine.put(whole), len(whole), out)
    assert machine.read(out, len(digest)) == digest
    machine.call(f"{name}_init", ctx)
    for piece in pieces:
        machine.call(f"{name}_update", ctx, machine.put(piece), len(piece))
    machine.call(f"{name}_final", ctx, out)
    assert machine.read(out, len(digest)) == digest
    assert machine.read(ctx, 104) == bytes(104)


CHACHA = b"expand 32-byte k" + bytes(range(32))


def test_chacha20_block_of_rfc8439(guest: Guest) -> None:
    state = guest.put(CHACHA + bytes.fromhex("01000000000000090000004a00000000"))
    stream = guest.put(bytes(64))

    guest.call("chacha_block_generic", state, stream, 20)

    assert guest.read(stream, 16).hex() == "10f1e7e4d13b5915500fdd1fa32071c4"
    assert guest.read(stream + 48, 16).hex() == "b5129cd1de164eb9cbd083e8a2503c4e"
    assert guest.unpack("<I", state + 48) == (2,)


def test_hchacha20_block(guest: Guest) -> None:
    state = guest.put(CHACHA + bytes.fromhex("000000090000004a0000000031415927"))
    out = guest.put(bytes(32))

    guest.call("hchacha_block_generic", state, out, 20)

    assert guest.read(out, 32).hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
