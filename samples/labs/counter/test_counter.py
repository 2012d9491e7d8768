import errno
import struct

import pytest

O_RDWR, NOWHERE = 2, 0x1000
ADD, GET, RESET = 0x40046B01, 0x80046B02, 0x6B03


@pytest.fixture
def counter(insmod, process):
    insmod("counter.c")
    return process.open("/dev/counter", O_RDWR)


def get(process, fd):
    value = bytearray(4)
    process.ioctl(fd, GET, value)
    return struct.unpack("i", value)[0]


def test_add_and_get(counter, process):
    assert get(process, counter) == 0
    process.ioctl(counter, ADD, struct.pack("i", 5))
    process.ioctl(counter, ADD, struct.pack("i", -7))
    assert get(process, counter) == -2


def test_reset(counter, process):
    process.ioctl(counter, ADD, struct.pack("i", 5))
    process.ioctl(counter, RESET)
    assert get(process, counter) == 0
    assert process.syscall("ioctl", counter, 0x6B04, 0) == -errno.ENOTTY


def test_bad_pointers(counter, process):
    process.ioctl(counter, ADD, struct.pack("i", 5))
    for command in (ADD, GET):
        assert process.syscall("ioctl", counter, command, NOWHERE) == -errno.EFAULT
    assert get(process, counter) == 5
