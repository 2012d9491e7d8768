"""/proc/sys/kernel, by the rules of kernel/sysctl.c."""

import os

import pytest

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import ALL_CAPABILITIES, CAP_SYS_ADMIN


def write(kernel: Kernel, name: str, text: bytes, *, uid: int = 0, capabilities: int | None = None) -> int:
    """errno of writing a sysctl, 0 for success."""
    with kernel.process(uid=uid, capabilities=capabilities) as process:
        try:
            fd = process.open(f"/proc/sys/kernel/{name}", os.O_WRONLY)
            process.write(fd, text)
        except KernelError as error:
            return error.errno
    return 0


def read(kernel: Kernel, name: str) -> bytes:
    return kernel.cat(f"/proc/sys/kernel/{name}")


@pytest.mark.parametrize(
    ("name", "text", "number", "after"),
    [
        ("kptr_restrict", b"1\n", 0, b"1\n"),
        ("kptr_restrict", b" 0x2 \n", 0, b"2\n"),
        ("kptr_restrict", b"3", errno.EINVAL, b"0\n"),
        ("kptr_restrict", b"", 0, b"0\n"),
        ("kptr_restrict", b"\n", errno.EINVAL, b"0\n"),
        ("kptr_restrict", b"1x", errno.EINVAL, b"0\n"),
        ("panic_on_warn", b"2", errno.EINVAL, b"0\n"),
        ("panic", b"-1", 0, b"-1\n"),
        ("panic", b"4294967296", errno.EINVAL, b"0\n"),
        ("oops_limit", b"4294967295", 0, b"4294967295\n"),
        ("printk", b"1 2", 0, b"1\t2\t1\t7\n"),
        ("modprobe", b"/bin/true\n", 0, b"/bin/true\n"),
        ("modprobe", b"\n", 0, b"\n"),
        ("printk_devkmsg", b"never\n", errno.EINVAL, b"on\n"),
        ("osrelease", b"7", errno.EACCES, b"6.1.0-56-amd64\n"),
        ("modules_disabled", b"0", errno.EINVAL, b"0\n"),
    ],
)
def test_writing(name, text, number, after):
    kernel = Kernel()
    assert write(kernel, name, text) == number
    assert read(kernel, name) == after


def test_who_may_write():
    kernel = Kernel()
    assert write(kernel, "panic", b"1", uid=1000) == errno.EACCES
    without = ALL_CAPABILITIES & ~(1 << CAP_SYS_ADMIN)
    for name in ("kptr_restrict", "dmesg_restrict", "tainted"):
        assert write(kernel, name, b"1", capabilities=without) == errno.EPERM
    assert write(kernel, "panic", b"1", capabilities=0) == 0


def test_who_sees_addresses():
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))

    def sees(**who) -> bool:
        with kernel.process(**who) as process:
            return b" 0x0000000000000000" not in process.read_file("/proc/modules")

    ordinary, syslog = {"uid": 1000}, {"uid": 1000, "capabilities": 1 << 34}
    for restricted, paranoid, expected in (
        (b"0", b"3", (False, True)),
        (b"0", b"1", (True, True)),
        (b"1", b"1", (False, True)),
        (b"2", b"1", (False, False)),
    ):
        write(kernel, "kptr_restrict", restricted)
        write(kernel, "perf_event_paranoid", paranoid)
        assert (sees(**ordinary), sees(**syslog)) == expected


def test_panic_on_oops():
    kernel = Kernel()
    write(kernel, "panic_on_oops", b"1")
    with pytest.raises(Killed):
        kernel.insmod(samples.path("oops_null"))
    assert kernel.dmesg()[-1] == "---[ end Kernel panic - not syncing: Fatal exception ]---"


def test_panic_on_warn():
    kernel = Kernel()
    write(kernel, "panic_on_warn", b"1")
    with pytest.raises(Killed):
        kernel.insmod(samples.path("warn"))
    assert "Kernel panic - not syncing: kernel: panic_on_warn set ..." in kernel.dmesg()


def test_values_are_part_of_a_snapshot():
    kernel = Kernel()
    before = kernel.snapshot()
    write(kernel, "printk", b"1 1 1 1")
    kernel.restore(before)
    assert read(kernel, "printk") == b"7\t4\t1\t7\n"
