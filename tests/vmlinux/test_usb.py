"""USB devices played by Python, on usbcore and with the distribution's drivers."""

import errno
import struct

import pytest

from kmod_emu.devices import usb
from kmod_emu.devices.mouse import LEFT, Mouse

EV_SYN, EV_KEY, EV_REL = 0, 1, 2
USBDEVFS_BULK, USBDEVFS_CLAIMINTERFACE = 0xC0185502, 0x8004550F


@pytest.fixture
def loaded(real, distribution_module):
    """The modules of USB mice, and the mouse."""
    mouse = Mouse()
    real.device(**Mouse.wiring)(mouse)
    for name in ("hid/hid", "hid/usbhid/usbhid", "hid/hid-generic", "input/evdev"):
        real.insmod(distribution_module(f"drivers/{name}"))
    real.advance(1)
    return mouse


def events(process, descriptor):
    """All that is to be read, as (type, code, value)."""
    data = process.read(descriptor, 24 * 16)
    return [struct.unpack("<HHi", data[at + 16 : at + 24]) for at in range(0, len(data), 24)]


def test_a_mouse(real, loaded):
    before = len(real.findings.reports)  # of tests on the same machine
    assert real.dmesg()[-1] == (
        "hid-generic 0003:1209:0001.0001: input,hidraw0: USB HID v1.10 Mouse [kmod-emu USB mouse]"
        " on usb-kmod-emu-usb.0-1/input0"
    )
    assert real.cat("/sys/bus/usb/devices/1-1/product") == b"USB mouse\n"
    assert real.cat("/sys/bus/usb/devices/1-1/speed") == b"1.5\n"
    with real.process(comm="reader") as process:
        descriptor = process.open("/dev/input/event1")
        loaded.move(5, -3)
        real.advance(0.01)
        assert events(process, descriptor) == [(EV_REL, 0, 5), (EV_REL, 1, -3), (EV_SYN, 0, 0)]
        loaded.press(LEFT)
        loaded.move(wheel=1)
        real.advance(0.1)
        seen = events(process, descriptor)
        assert (EV_KEY, 0x110, 1) in seen
        assert (EV_REL, 8, 1) in seen
    assert real.findings.reports[before:] == []


def test_a_mouse_is_pulled_out(real, loaded):
    real.unplug(loaded)
    assert real.dmesg()[-1] == "usb 1-1: USB disconnect, device number 2"
    with real.process() as process:
        assert "event1" not in process.listdir("/dev/input")
    with pytest.raises(ValueError, match="no such device"):
        real.unplug(loaded)
    for name in ("usbhid", "hid_generic", "hid"):
        real.rmmod(name)


class Echo:
    """Gives back what it gets, by bulk endpoints; on a request of its own, what it has got last."""

    configuration = usb.configuration(
        usb.interface(*(0, 0xFF, 0, 0), usb.endpoint(1, usb.BULK, 64), usb.endpoint(usb.IN | 2, usb.BULK, 64))
    )

    def __init__(self):
        self.data = b""

    def transfer(self, endpoint, data, count):
        if endpoint == usb.IN | 2:
            return self.data[::-1] or None
        if data == b"stall":
            raise OSError(errno.EPIPE, "")
        self.data = data
        return b""


def test_bulk_transfers_by_a_program(real):
    real.device(usb="1209:0002")(Echo)

    with real.process() as process:
        descriptor = process.open("/dev/bus/usb/001/002", 2)
        process.ioctl(descriptor, USBDEVFS_CLAIMINTERFACE, struct.pack("<I", 0))

        def bulk(endpoint, data):
            buffer = process.put(data)
            place = process.put(struct.pack("<IIIxxxxQ", endpoint, len(data), 100, buffer))
            result = process.syscall("ioctl", descriptor, USBDEVFS_BULK, place)
            return result if result < 0 else process.get(buffer, result)

        assert bulk(0x82, bytes(8)) == -errno.ETIMEDOUT
        assert bulk(1, b"drawer") == b"drawer"
        assert bulk(0x82, bytes(64)) == b"reward"
        assert bulk(1, b"stall") == -errno.EPIPE


def test_a_device_without_a_configuration(real):
    with pytest.raises(ValueError, match="a USB device has the bytes of its configuration"):
        real.device(usb="1209:0002")(object())
    with pytest.raises(ValueError, match='a USB id is written as "8086:100e"'):
        real.device(usb="mouse")(Mouse)
