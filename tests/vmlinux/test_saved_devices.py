"""Devices in saved machines: shipped models are there again, others when they are plugged in again."""

import socket
import struct

import pytest

from kmod_emu.devices.e1000 import E1000
from kmod_emu.devices.lm75 import Lm75
from kmod_emu.devices.mouse import Mouse
from kmod_emu.drivers.board import Board

MAC = "02:00:00:00:00:07"
US, NOBODY = bytes.fromhex(MAC.replace(":", "")), bytes(6)
HERE, THERE = bytes([10, 0, 0, 2]), bytes([10, 0, 0, 1])
SIOCSIFFLAGS, IFF_UP, ARP = 0x8914, 1, 0x0806


def model(kernel, kind):
    """The one of a kind that is plugged in."""
    return next(each.model for each in kernel[Board]._plugged.values() if isinstance(each.model, kind))


def up(kernel, process):
    """What `ip link set eth0 up` does, and a socket on it."""
    control = process.enter("socket", socket.AF_INET, socket.SOCK_DGRAM, 0)
    process.enter("ioctl", control, SIOCSIFFLAGS, process.put(struct.pack("<16sH22x", b"eth0", IFF_UP)))
    kernel.advance(3)
    number = int(kernel.cat("/sys/class/net/eth0/ifindex"))
    raw = process.enter("socket", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    address = struct.pack("<HHiHBB8s", socket.AF_PACKET, socket.htons(ARP), number, 0, 0, 6, b"\xff" * 6)
    process.enter("bind", raw, process.put(address), 20)
    return raw


def who_has(kernel, process, raw):
    """Ask the peer for its address: who answers."""
    body = struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, US, HERE, NOBODY, THERE)
    frame = b"\xff" * 6 + US + struct.pack(">H", ARP) + body
    process.enter("sendto", raw, process.put(frame), len(frame), 0, 0, 0)
    kernel.advance(0.01)
    buffer = process.put(bytes(100))
    process.enter("recvfrom", raw, buffer, 100, socket.MSG_DONTWAIT, 0, 0)
    return process.get(buffer, 42)[28:32]


def test_a_card_with_its_driver(real, distribution_module, tmp_path):
    """What the kernel knows of the card, the card knows too: its interface goes up, and its peer answers."""
    real.device(**E1000.wiring)(E1000(MAC, peer="10.0.0.1"))
    real.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    real.save(tmp_path / "saved")
    kernel = type(real).load(tmp_path / "saved")
    with kernel.process() as process:
        raw = up(kernel, process)
        assert who_has(kernel, process, raw) == THERE
    kernel.unplug(model(kernel, E1000))
    assert b"eth0" not in kernel.cat("/proc/net/dev")


def test_what_is_on_its_way_arrives(real, distribution_module, tmp_path):
    """An answer that comes later, by Wires.after, is part of snapshots and saved machines."""
    card = E1000(MAC, peer="10.0.0.1")
    real.device(**E1000.wiring)(card)
    real.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    moment = real.snapshot()
    with real.process() as process:
        raw = up(real, process)
        assert who_has(real, process, raw) == THERE
    real.restore(moment)
    with real.process() as process:
        raw = up(real, process)
        assert who_has(real, process, raw) == THERE


def test_a_thermometer_and_a_mouse(real, load, tmp_path):
    real.device(**Lm75.wiring)(Lm75(21.5))
    real.device(**Mouse.wiring)(Mouse())
    load("lm75", "hid_generic", "usbhid", "evdev")
    real.save(tmp_path / "saved")
    kernel = type(real).load(tmp_path / "saved")
    assert kernel.cat("/sys/class/hwmon/hwmon0/temp1_input") == b"21500\n"
    with kernel.process() as process:
        fd = process.open("/dev/input/event1")
        model(kernel, Mouse).move(3, -2)
        kernel.advance(0.1)
        assert struct.unpack_from("<HHi", process.read(fd, 72), 16) == (2, 0, 3)


class Counter:
    """Somebody's own card: a number at its first address."""

    def __init__(self):
        self.value = 0

    def read(self, bar, offset, size):
        return self.value

    def write(self, bar, offset, size, value):
        self.value = value

    def save(self):
        return self.value

    def load(self, state):
        self.value = state


def cards(process):
    """Without what is built in."""
    return {name for name in process.listdir("/sys/bus/pci/devices") if name[:10] > "0000:00:01"}


def test_ones_own_card_is_plugged_in_again(real, tmp_path):
    wiring = {"pci": "1234:11e8", "bars": [0x1000, ("ports", 16)], "irq": 11}
    card = real.device(**wiring)(Counter)
    card.value = 42
    real.save(tmp_path / "saved")
    kernel = type(real).load(tmp_path / "saved")
    there = kernel.device(**wiring)(Counter)
    assert there.value == 42
    with kernel.process() as process:
        assert cards(process) == {"0000:00:03.0"}, "no second one"
    kernel.device(**wiring)(Counter)
    with kernel.process() as process:
        assert cards(process) == {"0000:00:03.0", "0000:00:04.0"}


def test_going_back_to_where_a_card_was_not_yet_pulled_out(real, distribution_module):
    card = E1000(MAC, peer="10.0.0.1")
    real.device(**E1000.wiring)(card)
    real.insmod(distribution_module("drivers/net/ethernet/intel/e1000/e1000"))
    moment = real.snapshot()
    real.unplug(card)
    real.restore(moment)
    with real.process() as process:
        assert who_has(real, process, up(real, process)) == THERE
    assert card.frames


def test_an_event_of_a_file_calls_methods_of_models_only(real):
    """Files are passed around: a name in one is a method of the model's class, or nothing happens."""
    real.device(**Lm75.wiring)(Lm75())
    key = next(iter(real[Board]._plugged))
    for name in ("__class__", "wiring", "nothing", "celsius"):
        real.sched.agenda.post(real.clock.now_ns, "device", [key, name, []])
    real.sched.agenda.post(real.clock.now_ns, "device", [key + 1, "read", []])
    real.advance(0.01)
    assert real.findings.reports == []


@pytest.mark.parametrize("state", [[["x"]], [[0, {"model": "e1000", "wiring": {"pci": "1:2"}}]]])
def test_nonsense_is_refused(real, state):
    with pytest.raises((KeyError, ValueError, TypeError)):
        real[Board].load(state)
