"""Files of /proc and /sys that show addresses (kernel/module/sysfs.c, procfs.c; kernel/kallsyms.c)."""

import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import ALL_CAPABILITIES
from tests.conftest import RECORDINGS

TEXT = "/sys/module/hello/sections/.exit.text"
HIDDEN = b"0x0000000000000000\n"


@pytest.fixture
def process():
    kernel = Kernel()
    kernel.insmod(samples.path("hello"))
    with kernel.process() as process:
        yield process


def test_a_section_is_read_from_its_start(process):
    fd = process.open(TEXT, os.O_RDONLY)
    assert process.pread(fd, 100, 0) == b"0xffffffffc0000000\n"
    assert process.pread(fd, 4, 0) == b"0xff"
    for middle in (1, 18):
        with pytest.raises(KernelError) as error:
            process.pread(fd, 1, middle)
        assert error.value.errno == errno.EINVAL
    assert process.pread(fd, 1, 19) == process.pread(fd, 1, 4096) == b""


@pytest.mark.parametrize(("path", "size"), [(TEXT, 19), ("/sys/module/hello/refcnt", 4096)])
def test_the_end_of_a_file_in_sysfs_is_its_size(process, path, size):
    assert process.lseek(process.open(path, os.O_RDONLY), 0, os.SEEK_END) == size == process.stat(path).size


def test_nobody_knows_the_end_of_proc_modules(process):
    with pytest.raises(KernelError) as error:
        process.lseek(process.open("/proc/modules", os.O_RDONLY), 0, os.SEEK_END)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("path", ["/proc/modules", "/proc/kallsyms", TEXT])
def test_who_opened_the_file_sees_addresses_whoever_reads(process, path):
    before = process.read_file(path)
    by_root = process.open(path, os.O_RDONLY)
    process.task.set_ids(0, 0, 0)
    assert process.pread(by_root, len(before), 0) == before
    if path != TEXT:  # which only its owner opens
        by_others = process.open(path, os.O_RDONLY)
        process.task.set_ids(0, 0, ALL_CAPABILITIES)
        text = process.pread(by_others, len(before), 0)
        assert b"hello" in text
        assert b"ffffffff" not in text


@pytest.mark.parametrize(
    ("path", "stays"), [("/proc/modules", True), ("/proc/kallsyms", True), (TEXT, False)]
)
def test_kptr_restrict_counts_at_opening_and_for_sections_at_reading(process, path, stays):
    before = process.read_file(path)
    fd = process.open(path, os.O_RDONLY)
    process.write(process.open("/proc/sys/kernel/kptr_restrict", os.O_WRONLY), b"2\n")
    assert process.pread(fd, len(before), 0) == (before if stays else HIDDEN)
    assert b"ffffffff" not in process.read_file(path)


def test_what_set_returns_above_0_is_what_write_returns():
    """kernel/params.c: param_attr_store hands on whatever is not 0."""
    kernel = Kernel()

    @kernel.export("int param_set_int(const char *val, const struct kernel_param *kp)")
    def param_set_int(kernel, val: int, kp: int) -> int:
        return 2

    kernel.insmod(RECORDINGS / "behaviour" / "b_param.ko")
    with kernel.process() as process:
        fd = process.open("/sys/module/b_param/parameters/ranged", os.O_WRONLY)
        assert process.write(fd, b"007\n") == 2
