"""The sample `echo`: a device from insmod to rmmod, and what goes wrong around one."""

import os
from pathlib import Path

import pytest

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.drivers.table import dev_func_i_table
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.uapi import errno
from kmod_emu.user.files import makedev

ECHO = samples.path("echo")
DEVICE = "/dev/echo"


def machine(params: str = "", **options):
    kernel = Kernel(**options)
    kernel.insmod(ECHO, params)
    process = kernel.process(comm="user")
    process.mknod(DEVICE, 0o020666, makedev(246, 0))
    return kernel, process


def error_of(call, *arguments) -> int:
    with pytest.raises(KernelError) as error:
        call(*arguments)
    return error.value.errno


def test_what_is_written_can_be_read():
    kernel, process = machine()
    fd = process.open(DEVICE, os.O_RDWR)
    assert kernel.modules[0].refcnt == 2, "the cdev's owner and the operations' owner"
    assert process.write(fd, b"hello") == 5
    assert process.read(fd, 100) == b"hello"
    assert process.read(fd, 100) == b""
    assert process.pread(fd, 3, 1) == b"ell"
    assert process.lseek(fd, 2, os.SEEK_SET) == 2
    assert process.read(fd, 1) == b"l"
    assert error_of(kernel.rmmod, "echo") == errno.EAGAIN
    process.close(fd)
    kernel.rmmod("echo")
    assert error_of(process.open, DEVICE) == errno.ENXIO
    assert kernel.dmesg()[-2:] == ["echo: opened, minor 0", "echo: released"]


def test_the_table_of_drivers():
    kernel, _ = machine()
    (row,) = dev_func_i_table(kernel)
    assert row[:4] == (246, 0, 255, "echo")
    assert list(row.operations) == ["llseek", "read", "write", "open", "release"]
    assert row.operations["read"].startswith("echo_read+0x0/0x")
    assert row.operations["read"].endswith(" [echo]")
    assert row.operations["llseek"].startswith("default_llseek")


def test_a_user_pointer_that_is_followed_is_a_fault():
    kernel, process = machine("trust=1")
    fd = process.open(DEVICE, os.O_RDWR)
    with pytest.raises(Killed) as death:
        process.write(fd, b"x")
    source = (Path(__file__).parents[2] / "samples/echo/echo.c").read_text().splitlines()
    line = next(n for n, text in enumerate(source, 1) if "buffer[0] = *" in text)
    said = "the code dereferences a user pointer at samples/echo/echo.c"
    assert death.value.explanation.startswith(f"{said}:{line}; use copy_from_user()")
    assert "#PF: supervisor read access in kernel mode" in kernel.dmesg()
    assert kernel.dmesg()[-1] == "echo: released", "files of a task that died are closed"
    assert kernel.modules[0].refcnt == 0


def test_without_smap_it_works():
    _, process = machine("trust=1", smap=False)
    fd = process.open(DEVICE, os.O_RDWR)
    assert process.write(fd, b"x") == 1
    assert process.read(fd, 5) == b"x"


@pytest.mark.parametrize(
    ("call", "arguments", "number"),
    [
        ("read", (99, 0, 0), errno.EBADF),
        ("read", (-1, 0, 0), errno.EBADF),
        ("read", (3, 8, 5), errno.EFAULT),
        ("read", (3, 1 << 63, 5), errno.EFAULT),
        ("read", (3, 0, 1 << 63), errno.EFAULT),
        ("write", (3, 8, 5), errno.EFAULT),
        ("pread64", (3, 0x7F0000001000, 5, -1), errno.EINVAL),
        ("pread64", (3, 0x7F0000001000, 5, (1 << 63) - 1), errno.EINVAL),
        ("lseek", (3, -1, 0), errno.EINVAL),
        ("lseek", (3, 0, 5), errno.EINVAL),
        ("ioctl", (3, 0x1234, 0), errno.ENOTTY),
        ("ioctl", (3, 0x5421, 8), errno.EFAULT),
        ("readv", (3, 8, 1), errno.EFAULT),
        ("readv", (3, 0, 1025), errno.EINVAL),
        ("fsync", (3,), errno.EINVAL),
        ("ftruncate", (3, 0), errno.EINVAL),
        ("getdents64", (3, 0, 0), errno.ENOTDIR),
        ("dup2", (3, 1 << 20), errno.EBADF),
        ("openat", (3, 0, 0), errno.EFAULT),
        ("poll", (8, 1, 0), errno.EFAULT),
    ],
)
def test_bad_arguments(call, arguments, number):
    _, process = machine()
    fd = process.open(DEVICE, os.O_RDWR)
    process.write(fd, b"hello")
    process.lseek(fd, 0, os.SEEK_SET)
    assert process.syscall(call, *arguments) == -number


def test_a_copy_ends_where_the_buffer_ends():
    """copy_to_user() that cannot finish: the driver says EFAULT, the position stays."""
    _, process = machine()
    fd = process.open(DEVICE, os.O_RDWR)
    process.write(fd, b"hello")
    place = process.put(bytes(4096))
    assert process.syscall("pread64", fd, place + 4094, 5, 0) == -errno.EFAULT
    assert process.get(place + 4094, 2) == b"he"


def test_a_driver_that_goes_while_it_is_open():
    """Without an owner nothing keeps the module: the next call jumps into memory that is gone."""
    kernel, process = machine()
    fd = process.open(DEVICE, os.O_RDWR)
    (probe,) = (p for chain in kernel[CharDevices].probes for p in chain if isinstance(p.cdev, int))
    module = kernel.modules[0]
    for _ in range(2):
        kernel.module_put(module.address)
    kernel.view("cdev", probe.cdev).owner = 0
    kernel.rmmod("echo")
    with pytest.raises(Killed):
        process.read(fd, 5)
    assert any(line.startswith("BUG: unable to handle page fault for address: ") for line in kernel.dmesg())
    kernel.insmod(samples.path("hello"))


def test_a_saved_machine_keeps_devices_and_nodes(tmp_path):
    kernel, process = machine()
    process.exit()
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    with again.process() as user:
        fd = user.open(DEVICE, os.O_RDWR)
        assert user.write(fd, b"kept") == 4
        assert user.stat(DEVICE).rdev == makedev(246, 0)
    again.rmmod("echo")
