"""Attributes that show a variable, and files about a device."""

import errno
import os
import struct

import pytest

from kmod_emu import Kernel, KernelError, samples
from tests.kernel.conftest import Guest

DEVICE = "/sys/class/mailbox/mailbox0"


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("mailbox"))
    return kernel


@pytest.fixture
def guest(kernel):
    return Guest(kernel)


@pytest.fixture
def device(kernel):
    """Address of the sample's struct device."""
    from kmod_emu.fs.sysfs import Sysfs

    return next(address for address, place in kernel[Sysfs].of.items() if place.path.endswith("/mailbox0"))


@pytest.fixture
def attribute(kernel, guest, device):
    """Make an attribute of the device that shows `contents`; the variable's address."""

    def make(kind, contents):
        variable = guest.data(contents)
        place = guest.data(
            bytes(kernel.profile.struct("device_attribute").size) + struct.pack("<Q", variable)
        )
        view = kernel.view("device_attribute", place)
        view.show, view.store = kernel.symbol(f"device_show_{kind}"), kernel.symbol(f"device_store_{kind}")
        kernel.memory.write_u64(place, guest.text(kind))
        kernel.view("attribute", place).mode = 0o644
        assert guest.export("device_create_file", device, place) == 0
        return variable

    return make


def write(kernel, kind, text):
    with kernel.process() as process:
        fd = process.open(f"{DEVICE}/{kind}", os.O_WRONLY)
        try:
            return process.write(fd, text)
        except KernelError as error:
            return -error.errno


@pytest.mark.parametrize(
    ("kind", "contents", "shown", "written", "after"),
    [
        ("int", struct.pack("<i", -5), b"-5\n", b"-0x10\n", struct.pack("<i", -16)),
        ("ulong", struct.pack("<Q", 31), b"1f\n", b"18446744073709551615", b"\xff" * 8),
        ("bool", b"\0", b"0\n", b"on", b"\1"),
    ],
)
def test_variables(kernel, attribute, kind, contents, shown, written, after):
    variable = attribute(kind, contents)
    assert kernel.cat(f"{DEVICE}/{kind}") == shown
    assert write(kernel, kind, written) == len(written)
    assert kernel.memory.read(variable, len(after)) == after


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("int", b"2147483648", errno.EINVAL),
        ("int", b"many", errno.EINVAL),
        ("ulong", b"18446744073709551616", errno.ERANGE),
        ("bool", b"maybe", errno.EINVAL),
    ],
)
def test_what_they_do_not_take(kernel, attribute, kind, text, error):
    variable = attribute(kind, bytes(8))
    assert write(kernel, kind, text) == -error
    assert kernel.memory.read(variable, 8) == bytes(8)


def test_a_file_in_debugfs_about_a_device(kernel, guest, device):
    show = guest.code(
        "mov rsi, {words}; sub rsp, 8; call {seq_puts}; add rsp, 8; xor eax, eax; ret",
        words=guest.text("hi\n"),
    )
    guest.export("debugfs_create_devm_seqfile", device, guest.text("about"), 0, show)
    assert kernel.cat("/sys/kernel/debug/about") == b"hi\n"
