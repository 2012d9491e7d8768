"""GPIO lines in arrays and by the names of a board's table, by the calls that modules make."""

import struct

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.uapi import errno

GPIOD_IN, GPIOD_OUT_LOW, GPIOD_OUT_HIGH = 1, 3, 7
ACTIVE_LOW = 1


@pytest.fixture
def bank():
    """A machine with 32 lines, and what its drivers did to them."""
    kernel, seen = Kernel(), []
    kernel.gpio(count=32, changed=lambda line, level: seen.append((line, level)))
    return kernel, seen


def place(kernel, data: bytes) -> int:
    address = kernel.heap.kmalloc(max(len(data), 8))
    kernel.memory.write(address, data)
    return address


def call(kernel, name: str, *arguments: int) -> int:
    result = kernel.call(kernel.symbol(name), *arguments)
    return result - (1 << 64) if result >> 63 else result - (1 << 32) if result >> 31 == 1 else result


def test_an_array_is_taken_as_a_whole_or_not_at_all(bank):
    kernel, seen = bank
    label = place(kernel, b"led\0")
    array = place(kernel, b"".join(struct.pack("<IxxxxQQ", line, 2, label) for line in (3, 4, 5)))
    call(kernel, "gpio_request", 5, label)
    assert call(kernel, "gpio_request_array", array, 3) == -errno.EBUSY
    assert seen == [(3, 1), (4, 1)]
    call(kernel, "gpio_free", 5)
    assert call(kernel, "gpio_request_array", array, 3) == 0
    assert call(kernel, "gpio_request", 4, label) == -errno.EBUSY
    lines = [kernel.call(kernel.symbol("gpio_to_desc"), line) for line in (3, 4, 5)]
    descs = place(kernel, struct.pack("<3Q", *lines))
    bitmap = place(kernel, b"\x05")
    assert call(kernel, "gpiod_set_array_value", 3, descs, 0, bitmap) == 0
    assert seen[-3:] == [(3, 1), (4, 0), (5, 1)]
    kernel.memory.write(bitmap, b"\0")
    assert call(kernel, "gpiod_get_array_value", 3, descs, 0, bitmap) == 0
    assert kernel.memory.read_u8(bitmap) == 5
    call(kernel, "gpio_free_array", array, 3)
    assert call(kernel, "gpio_request", 4, label) == 0


def test_lines_of_a_table(bank):
    """A name that no table has is ENOENT, NULL if optional; a line that is active low is turned round."""
    kernel, seen = bank
    key, reset, irq = place(kernel, b"gpio\0"), place(kernel, b"reset\0"), place(kernel, b"irq\0")
    entries = struct.pack("<QHxxxxxxQIxxxxQ", key, 9, reset, 0, ACTIVE_LOW) + bytes(40)
    table = place(kernel, bytes(24) + entries)
    call(kernel, "gpiod_add_lookup_table", table)
    assert call(kernel, "gpiod_get", 0, irq, GPIOD_IN) == -errno.ENOENT
    assert call(kernel, "gpiod_get_optional", 0, irq, GPIOD_IN) == 0
    desc = kernel.call(kernel.symbol("gpiod_get_index"), 0, reset, 0, GPIOD_OUT_HIGH)
    assert seen == [(9, 0)]
    assert call(kernel, "gpiod_get", 0, reset, GPIOD_IN) == -errno.EBUSY
    call(kernel, "gpiod_set_value", desc, 0)
    assert (seen[-1], call(kernel, "gpiod_get_value", desc)) == ((9, 1), 0)
    call(kernel, "gpiod_put", desc)
    assert kernel.call(kernel.symbol("gpiod_get"), 0, reset, GPIOD_OUT_LOW) == desc
    snapshot = kernel.snapshot()
    call(kernel, "gpiod_remove_lookup_table", table)
    assert call(kernel, "gpiod_get", 0, reset, GPIOD_IN) == -errno.ENOENT
    kernel.restore(snapshot)
    assert call(kernel, "gpiod_get", 0, reset, GPIOD_IN) == -errno.EBUSY


def test_a_line_that_is_shown(bank):
    kernel, seen = bank
    call(kernel, "gpio_request", 4, place(kernel, b"led\0"))
    desc = kernel.call(kernel.symbol("gpio_to_desc"), 4)
    assert call(kernel, "gpiod_export", desc, 1) == 0
    assert call(kernel, "gpiod_export", desc, 1) == -errno.EPERM
    with kernel.process() as process:
        fd = process.open("/sys/class/gpio/gpio4/value", 1)
        with pytest.raises(KernelError) as refused:
            process.write(fd, b"1")  # an input
        assert refused.value.errno == errno.EPERM
        process.write(process.open("/sys/class/gpio/gpio4/direction", 1), b"high\n")
        process.write(process.open("/sys/class/gpio/gpio4/active_low", 1), b"1")
        process.write(fd, b"1")
    assert seen == [(4, 1), (4, 0)]
    assert kernel.cat("/sys/class/gpio/gpio4/direction") == b"out\n"
    assert kernel.cat("/sys/class/gpio/gpio4/value") == b"1\n"
    call(kernel, "gpiod_unexport", desc)
    with kernel.process() as process:
        assert process.listdir("/sys/class/gpio") == []
