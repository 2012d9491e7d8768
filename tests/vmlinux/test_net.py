"""Sockets, packets, AF_ALG and uinput of a distribution's own kernel."""

import os
import socket
import struct

import pytest

from kmod_emu import KernelError
from kmod_emu.vmlinux.tun import Tun

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
IPT_SO_SET_REPLACE = 64
NF_DROP, NF_ACCEPT = 0, 1
EV_KEY, KEY_A = 1, 30
UI_DEV_CREATE, UI_SET_EVBIT, UI_SET_KEYBIT = 0x5501, 0x40045564, 0x40045565
EVENT = struct.Struct("<qqHHi")


def inet(port):
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + bytes((127, 0, 0, 1)) + bytes(8)


@pytest.fixture
def two(real):
    """Two processes, and a loopback interface that is up."""
    first, second = real.process(comm="first"), real.process(comm="second")
    fd = first.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = b"lo".ljust(16, b"\0") + struct.pack("<H", IFF_UP).ljust(24, b"\0")
    first.enter("ioctl", fd, SIOCSIFFLAGS, first.put(request))
    return first, second


def bound(process, kind, port):
    fd = process.socket(socket.AF_INET, kind)
    process.enter("bind", fd, process.put(inet(port)), 16)
    return fd


def test_tcp_between_two_processes(two):
    server, client = two
    listening = bound(server, socket.SOCK_STREAM, 7)
    server.enter("listen", listening, 1)
    calling = client.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.enter("connect", calling, client.put(inet(7)), 16)
    answering = server.enter("accept", listening, 0, 0)
    client.write(calling, b"ping")
    assert server.read(answering, 100) == b"ping"
    server.write(answering, b"pong" * 5_000)
    received = b""
    while len(received) < 20_000:
        received += client.read(calling, 20_000)
    assert received == b"pong" * 5_000
    client.close(calling)
    assert server.read(answering, 100) == b""
    with pytest.raises(KernelError) as refused:
        client.enter("connect", client.socket(socket.AF_INET, socket.SOCK_STREAM), client.put(inet(8)), 16)
    assert refused.value.errno == 111  # ECONNREFUSED


def test_udp_wakes_a_process_that_waits(two):
    server, client = two
    fd = bound(server, socket.SOCK_DGRAM, 9)
    buffer = server.put(bytes(100))
    server.start("read", fd, buffer, 100)
    calling = client.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.enter("sendto", calling, client.put(b"datagram"), 8, 0, client.put(inet(9)), 16)
    assert server.wait() == 8
    assert server.get(buffer, 8) == b"datagram"


def test_sha256_by_af_alg(real, load):
    load("algif_hash")
    with real.process() as process:
        fd = process.socket(38, socket.SOCK_SEQPACKET)
        address = struct.pack("<H14sII64s", 38, b"hash", 0, 0, b"sha256")
        process.enter("bind", fd, process.put(address), len(address))
        hashing = process.enter("accept", fd, 0, 0)
        process.write(hashing, b"abc")
        assert process.read(hashing, 64).hex() == (
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request():
    """From 10.0.0.2 to 10.0.0.1."""
    icmp = struct.pack(">BBHHH", 8, 0, 0, 7, 1) + b"from Python!"
    icmp = icmp[:2] + struct.pack(">H", checksum(icmp)) + icmp[4:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0)
    head += bytes((10, 0, 0, 2, 10, 0, 0, 1))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + icmp


def replies(tun):
    """Echo replies that came out."""
    found = []
    while packet := tun.receive():
        if packet[0] >> 4 == 4:
            found.append((packet[12:16], packet[20], packet[28:]))
    return found


def policy(verdict):
    """The table filter with nothing but policies, that of INPUT as given: struct ipt_replace and entries."""

    def entry(size, target):
        return bytes(88) + struct.pack("<HHI16x", 112, 112 + size, 0) + target

    def standard(number):
        return entry(40, struct.pack("<H30si4x", 40, b"", -number - 1))

    entries = [standard(verdict), standard(NF_ACCEPT), standard(NF_ACCEPT)]
    entries.append(entry(64, struct.pack("<H30s30s2x", 64, b"ERROR", b"ERROR")))
    blob, size = b"".join(entries), len(entries[0])
    hooks = struct.pack("<5I", 0, 0, size, 2 * size, 0)
    return struct.pack("<32sIII", b"filter", 0b01110, len(entries), len(blob)) + 2 * hooks, len(entries), blob


def test_packets_from_python_are_answered_and_filtered(real, load):
    load("tun", "iptable_filter")
    tun = Tun(real)
    tun.send(echo_request())
    assert replies(tun) == [(bytes((10, 0, 0, 1)), 0, b"from Python!")]
    with real.process(comm="iptables") as process:
        fd = process.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

        def replace(verdict):
            head, count, blob = policy(verdict)
            request = head + struct.pack("<IQ", count, process.put(bytes(16 * count))) + blob
            process.enter(
                "setsockopt", fd, socket.IPPROTO_IP, IPT_SO_SET_REPLACE, process.put(request), len(request)
            )

        replace(NF_DROP)
        tun.send(echo_request())
        assert replies(tun) == []
        replace(NF_ACCEPT)
        tun.send(echo_request())
        assert len(replies(tun)) == 1
    with pytest.raises(KernelError) as refused:
        tun.send(b"\xff")
    assert refused.value.errno == 22
    tun.close()
    assert b"tun0" not in real.cat("/proc/net/dev")


def test_a_key_by_uinput_reaches_evdev(real, load):
    load("uinput", "evdev")
    with real.process() as process:
        fd = process.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK)
        process.enter("ioctl", fd, UI_SET_EVBIT, EV_KEY)
        process.enter("ioctl", fd, UI_SET_KEYBIT, KEY_A)
        process.write(fd, b"python".ljust(80, b"\0") + struct.pack("<4HI", 3, 1, 2, 3, 0) + bytes(1024))
        process.enter("ioctl", fd, UI_DEV_CREATE, 0)
        assert b'N: Name="python"\n' in real.cat("/proc/bus/input/devices")
        events = process.open("/dev/input/event1", os.O_RDONLY | os.O_NONBLOCK)
        process.write(fd, EVENT.pack(0, 0, EV_KEY, KEY_A, 1) + EVENT.pack(0, 0, 0, 0, 0))
        data = process.read(events, 1000)
        assert [event[2:] for event in EVENT.iter_unpack(data)] == [(EV_KEY, KEY_A, 1), (0, 0, 0)]
