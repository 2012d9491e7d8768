import ipaddress
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.printf_world import END, World

MAC = bytes.fromhex("2d48d6fc7a05")
SIXTEEN = bytes(range(16))


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%pM", b"2d:48:d6:fc:7a:05"),
        (b"%pMR", b"05:7a:fc:d6:48:2d"),
        (b"%pMF", b"2d-48-d6-fc-7a-05"),
        (b"%pm", b"2d48d6fc7a05"),
        (b"%pmR", b"057afcd6482d"),
        (b"%pmF", b"2d48d6fc7a05"),
        (b"%20pM|", b"   2d:48:d6:fc:7a:05|"),
        (b"%.5pM", b"2d:48"),
    ],
)
def test_mac_address(world, format, expected):
    assert world.format(format, world.put(MAC)) == expected


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%pUb", b"00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (b"%pU", b"00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (b"%pUB", b"00010203-0405-0607-0809-0A0B0C0D0E0F"),
        (b"%pUl", b"03020100-0504-0706-0809-0a0b0c0d0e0f"),
        (b"%pUL", b"03020100-0504-0706-0809-0A0B0C0D0E0F"),
    ],
)
def test_uuid(world, format, expected):
    assert world.format(format, world.put(SIXTEEN)) == expected


@given(st.binary(min_size=16, max_size=16))
def test_uuid_as_python_prints_it(raw):
    world = World()
    where = world.put(raw)
    expected = f"{uuid.UUID(bytes=raw)} {uuid.UUID(bytes_le=raw)}".encode()
    assert world.format(b"%pUb %pUl", where, where) == expected


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%pI4", b"127.0.0.1"),
        (b"%pi4", b"127.000.000.001"),
        (b"%pI4n|", b"127.0.0.1|"),
        (b"%pI4b|", b"127.0.0.1|"),
        (b"%pI4h|", b"1.0.0.127|"),
        (b"%pi4l|", b"001.000.000.127|"),
        (b"%12pI4|", b"   127.0.0.1|"),
    ],
)
def test_ipv4(world, format, expected):
    assert world.format(format, world.put(bytes([127, 0, 0, 1]))) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::", b"::"),
        ("::1", b"::1"),
        ("1::", b"1::"),
        ("1:2:3:4:5:6:7:8", b"1:2:3:4:5:6:7:8"),
        ("1:0:3:4:5:6:7:8", b"1:0:3:4:5:6:7:8"),  # one zero group is not worth it
        ("1:0:0:4:5:0:0:8", b"1::4:5:0:0:8"),  # the first of equals
        ("1:0:0:4:0:0:0:8", b"1:0:0:4::8"),  # the longest
        ("2001:db8::ff00:42:8329", b"2001:db8::ff00:42:8329"),
        ("::ffff:1.2.3.4", b"::ffff:1.2.3.4"),
        ("fe80::5efe:1.2.3.4", b"fe80::5efe:1.2.3.4"),  # ISATAP
        ("fe80::200:5efe:1.2.3.4", b"fe80::200:5efe:1.2.3.4"),
        ("::1.2.3.4", b"::102:304"),
    ],
)
def test_ipv6_compressed(world, address, expected):
    assert world.format(b"%pI6c", world.put(ipaddress.IPv6Address(address).packed)) == expected


def test_ipv6_forms(world):
    where = world.put(SIXTEEN)
    assert world.format(b"%pI6", where) == b"0001:0203:0405:0607:0809:0a0b:0c0d:0e0f"
    assert world.format(b"%pi6", where) == b"000102030405060708090a0b0c0d0e0f"
    assert world.format(b"%pi6c", where) == b"000102030405060708090a0b0c0d0e0f"


@given(st.lists(st.sampled_from([0, 0, 1, 0xFFFF, 0x5EFE]), min_size=8, max_size=8))
def test_ipv6_compressed_reads_back_as_the_same_address(groups):
    raw = struct.pack(">8H", *groups)
    world = World()
    text = world.format(b"%pI6c", world.put(raw)).decode()
    assert ipaddress.IPv6Address(text).packed == raw


SIN = struct.pack("<H", 2) + struct.pack(">H4B", 12345, 1, 2, 3, 4)
SIN6 = (
    struct.pack("<H", 10)
    + struct.pack(">HI", 12345, 0xF0012345)
    + ipaddress.IPv6Address("fe80::1").packed
    + struct.pack("<I", 7)
)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%pIS", b"1.2.3.4"),
        (b"%piS", b"001.002.003.004"),
        (b"%pISp", b"1.2.3.4:12345"),
        (b"%piSp", b"001.002.003.004:12345"),
        (b"%pISpfschl", b"4.3.2.1:12345"),
        (b"%pISln", b"1.2.3.4"),  # the last order counts
        (b"%pIS4p", b"1.2.3.4"),  # options end at a digit
        (b"%16pIS|", b"         1.2.3.4|"),
    ],
)
def test_sockaddr_in(world, format, expected):
    assert world.format(format, world.put(SIN)) == expected


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (b"%pIS", b"fe80:0000:0000:0000:0000:0000:0000:0001"),
        (b"%pISc", b"fe80::1"),
        (b"%pISpc", b"[fe80::1]:12345"),
        (b"%pISpfsc", b"[fe80::1]:12345/74565%7"),
        (b"%piSs", b"[fe800000000000000000000000000001]%7"),
    ],
)
def test_sockaddr_in6(world, format, expected):
    assert world.format(format, world.put(SIN6)) == expected


def test_scope_is_read_only_when_asked_for(world):
    world.memory.write(END - 24, SIN6[:24])
    assert world.format(b"%pISpc", END - 24) == b"[fe80::1]:12345"


def test_other_families_and_other_letters(world):
    where = world.put(struct.pack("<H", 1))
    assert world.format(b"%pIS|%piX|%pI|%pI5", where, where, where, where) == b"(einval)|(%pi?)|(%pI?)|(%pI?)"
