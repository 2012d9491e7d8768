"""The other end of a cable: ARP and ping, and what is neither."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.devices.peer import Peer

US, OTHERS = bytes.fromhex("525400123456"), b"\xff" * 6
HERE, THERE = (ipaddress.ip_address(f"10.0.0.{last}").packed for last in (2, 1))
PEER = bytes.fromhex("020000000001")


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total + (total >> 16)) & 0xFFFF


def test_arp():
    head = struct.pack("!HHBB", 1, 0x0800, 6, 4)
    request = head + b"\0\1" + US + HERE + bytes(6) + THERE
    answer = Peer("10.0.0.1").answer(OTHERS + US + b"\x08\x06" + request + bytes(18))
    assert answer == US + PEER + b"\x08\x06" + head + b"\0\2" + PEER + THERE + US + HERE
    assert Peer("10.0.0.3").answer(OTHERS + US + b"\x08\x06" + request) is None


def ping(payload):
    message = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + payload
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 1, 0, 64, 1, 0, HERE, THERE)
    return PEER + US + b"\x08\0" + packet + message


@given(st.binary(max_size=40).filter(lambda payload: not len(payload) % 2))
def test_ping(payload):
    answer = Peer("10.0.0.1").answer(ping(payload))
    assert answer[:14] == US + PEER + b"\x08\0"
    assert answer[26:34] == THERE + HERE
    assert answer[34] == 0
    assert checksum(answer[34:]) == 0
    assert answer[42:] == payload


@given(st.binary(max_size=80), st.sampled_from([b"\x08\0", b"\x08\x06", b"\x86\xdd"]))
def test_anything(body, kind):
    Peer("10.0.0.1").answer(OTHERS + US + kind + body)


def test_no_address():
    with pytest.raises(ValueError, match=r"written as 10\.0\.0\.1, not 'here'"):
        Peer("here")
