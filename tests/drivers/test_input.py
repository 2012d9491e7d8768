"""Input devices as programs see them, by the sample inputdev."""

import errno
import os
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples

EV_SYN, EV_KEY, EV_ABS, EV_LED = 0, 1, 3, 0x11
KEY_A, LED_CAPSL = 30, 1
EVIOCGVERSION, EVIOCGID, EVIOCGREP, EVIOCGRAB = 0x80044501, 0x80084502, 0x80084503, 0x40044590
EVIOCREVOKE, EVIOCSCLOCKID = 0x40044591, 0x400445A0
CLOCK_MONOTONIC = 1
POLLIN, POLLOUT, POLLHUP, POLLERR = 1, 4, 16, 8
SIGIO = 29


def sized(number: int, size: int) -> int:
    return 2 << 30 | size << 16 | ord("E") << 8 | number


@pytest.fixture
def keypad():
    """A machine with the keypad, a process that has it open, and a function that presses keys."""
    kernel = Kernel()
    kernel.insmod(samples.path("inputdev"))
    process = kernel.process()
    fd = process.open("/dev/input/event0", os.O_RDWR | os.O_NONBLOCK)

    def tell(file: str, text: str) -> None:
        with kernel.process() as other:
            other.write(other.open(f"/sys/class/input/input0/{file}", os.O_WRONLY), text.encode())

    return kernel, process, fd, tell


def events(process, fd) -> list[tuple[int, int, int]]:
    raw = process.read(fd, 24 * 64)
    return [struct.unpack("<HHi", raw[at + 16 : at + 24]) for at in range(0, len(raw), 24)]


def test_events_are_read_packet_by_packet(keypad):
    _, process, fd, tell = keypad
    with pytest.raises(KernelError) as error:
        process.read(fd, 24)
    assert error.value.errno == errno.EAGAIN
    tell("key", "30 1")
    tell("key", "31 1")  # not a key of this device
    tell("key", "30 1")  # no news
    tell("key", "30 0")
    assert process.poll({fd: POLLIN | POLLOUT}, 0) == {fd: POLLIN | POLLOUT}
    assert events(process, fd) == [(EV_KEY, KEY_A, 1), (EV_SYN, 0, 0), (EV_KEY, KEY_A, 0), (EV_SYN, 0, 0)]
    with pytest.raises(KernelError) as error:
        process.read(fd, 23)
    assert error.value.errno == errno.EINVAL


def test_a_key_that_is_held_repeats(keypad):
    """After 250 ms, and then every 33, rounded up to ticks of 4 ms."""
    kernel, process, fd, tell = keypad
    tell("key", "30 1")
    kernel.advance(0.37)
    tell("key", "30 0")
    kernel.advance(1)
    values = [value for kind, _, value in events(process, fd) if kind == EV_KEY]
    assert values == [1, 2, 2, 2, 0]
    raw = bytearray(8)
    process.ioctl(fd, EVIOCGREP, raw)
    assert struct.unpack("<II", raw) == (250, 33)


def test_small_movements_of_a_stick_are_noise(keypad):
    _, process, fd, tell = keypad
    tell("stick", "50 0")
    assert events(process, fd) == [(EV_ABS, 0, 50), (EV_SYN, 0, 0)]
    tell("stick", "53 0")
    with pytest.raises(KernelError):
        process.read(fd, 24)
    tell("stick", "57 0")
    assert events(process, fd) == [(EV_ABS, 0, 53), (EV_SYN, 0, 0)]
    raw = bytearray(24)
    process.ioctl(fd, sized(0x40, 24), raw)
    assert struct.unpack("<6i", raw)[1:] == (-100, 100, 4, 0, 0)


def test_what_is_written_goes_to_the_device(keypad):
    kernel, process, fd, _ = keypad
    event = struct.pack("<QQHHi", 0, 0, EV_LED, LED_CAPSL, 1)
    assert process.write(fd, event * 2) == 48
    assert kernel.dmesg()[-1] == "inputdev: light 1 on"
    raw = bytearray(8)
    assert process.ioctl(fd, sized(0x19, 8), raw) == 8
    assert raw[0] == 1 << LED_CAPSL


def test_ioctl(keypad):
    _, process, fd, _ = keypad
    raw = bytearray(4)
    process.ioctl(fd, EVIOCGVERSION, raw)
    assert struct.unpack("<I", raw) == (0x010001,)
    raw = bytearray(8)
    process.ioctl(fd, EVIOCGID, raw)
    assert struct.unpack("<4H", raw) == (6, 0x1209, 1, 0)
    raw = bytearray(64)
    assert process.ioctl(fd, sized(6, 64), raw) == 16
    assert raw[:16] == b"kmod-emu keypad\0"
    assert process.ioctl(fd, sized(6, 5), raw) == 5
    assert process.ioctl(fd, sized(0x21, 64), raw) == 64
    assert int.from_bytes(raw, "little") == 1 << 30 | 1 << 28
    for cmd, error in (
        (sized(8, 64), errno.ENOENT),
        (sized(0x22 | 0x0F, 8), errno.EINVAL),
        (0x1234, errno.EINVAL),
    ):
        with pytest.raises(KernelError) as refused:
            process.ioctl(fd, cmd, raw)
        assert refused.value.errno == error


def test_grab_and_revoke(keypad):
    kernel, process, fd, tell = keypad
    other = kernel.process()
    second = other.open("/dev/input/event0", os.O_RDONLY | os.O_NONBLOCK)
    process.ioctl(fd, EVIOCGRAB, 1)
    with pytest.raises(KernelError) as refused:
        other.ioctl(second, EVIOCGRAB, 1)
    assert refused.value.errno == errno.EBUSY
    tell("key", "28 1")
    assert len(events(process, fd)) == 2
    with pytest.raises(KernelError):
        other.read(second, 24)
    process.ioctl(fd, EVIOCGRAB, 0)
    tell("key", "28 0")
    assert len(events(other, second)) == 2
    other.ioctl(second, EVIOCREVOKE, 0)
    with pytest.raises(KernelError) as refused:
        other.read(second, 24)
    assert refused.value.errno == errno.ENODEV
    assert other.poll({second: POLLIN}, 0) == {second: POLLHUP | POLLERR}


def test_a_slow_reader_is_told_that_events_were_dropped(keypad):
    _, process, fd, tell = keypad  # its buffer has 128 places
    for step in range(65):
        tell("key", f"30 {1 - step % 2}")
    read = events(process, fd)
    assert read[0] == (EV_SYN, 3, 0)  # SYN_DROPPED
    assert len(read) == 4


def test_the_clock_of_time_stamps(keypad):
    kernel, process, fd, tell = keypad
    process.ioctl(fd, EVIOCSCLOCKID, struct.pack("<i", CLOCK_MONOTONIC))
    tell("key", "30 1")
    seconds, micros = struct.unpack("<QQ", process.read(fd, 24)[:16])
    assert 0 <= kernel.clock.now_ns - (seconds * 10**9 + micros * 1000) < 10**9


def test_a_device_that_goes_while_it_is_open(keypad):
    kernel, process, fd, tell = keypad
    tell("key", "30 1")
    kernel.rmmod("inputdev")
    with pytest.raises(KernelError) as refused:
        process.read(fd, 24)
    assert refused.value.errno == errno.ENODEV
    assert kernel.dmesg()[-1] == "inputdev: nobody listens any more"
    process.close(fd)
    with kernel.process() as other, pytest.raises(KernelError) as refused:
        other.open("/dev/input/event0")
    assert refused.value.errno == errno.ENOENT


def test_a_reader_waits(keypad):
    kernel, _, _, tell = keypad
    reader = kernel.process()
    waiting = reader.open("/dev/input/event0")
    buffer = reader.put(bytes(48))
    reader.start("read", waiting, buffer, 48)
    tell("key", "30 1")
    assert reader.wait() == 48
    assert struct.unpack("<HHi", reader.get(buffer, 24)[16:]) == (EV_KEY, KEY_A, 1)


def test_nothing_is_left():
    kernel = Kernel()
    before = kernel.held()
    kernel.insmod(samples.path("inputdev"), "watching=1")
    kernel.rmmod("inputdev")
    assert kernel.held() == before


def test_a_kept_machine_keeps_its_devices(tmp_path):
    kernel = Kernel()
    kernel.insmod(samples.path("inputdev"), "watching=1")
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    with again.process() as process:
        fd = process.open("/dev/input/event0", os.O_RDONLY | os.O_NONBLOCK)
        process.write(process.open("/sys/class/input/input0/key", os.O_WRONLY), b"30 1")
        assert len(events(process, fd)) == 2
    assert again.dmesg()[-1] == "inputdev: key 30 down"
    again.rmmod("inputdev")


def test_a_device_that_is_polled():
    """While it is open its function is called at once, and then every interval."""
    kernel, calls = Kernel(), []

    @kernel.export("void poll_the_device(struct input_dev *dev)")
    def poll_the_device(kernel, dev):
        calls.append(kernel.clock.now_ns)

    call = lambda name, *arguments: kernel.call(kernel.symbol(name), *arguments)  # noqa: E731
    dev = call("input_allocate_device")
    assert call("input_setup_polling", dev, kernel.symbol("poll_the_device")) == 0
    call("input_set_poll_interval", dev, 100)
    assert call("input_register_device", dev) == 0
    assert calls == []
    process = kernel.process()
    fd = process.open("/dev/input/event0", os.O_RDONLY)
    assert len(calls) == 1
    kernel.advance(1)
    assert 9 <= len(calls) <= 11
    process.close(fd)
    seen = len(calls)
    kernel.advance(1)
    assert len(calls) == seen
    call("input_unregister_device", dev)
