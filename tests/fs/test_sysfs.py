"""/sys as drivers make it, by the sample `kobject`."""

import errno
import os
import select

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.fs.sysfs import Sysfs

DEMO = "/sys/kernel/kmod_emu_demo"


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("kobject"))
    return kernel


def write(kernel, path, data, **who):
    with kernel.process(**who) as process:
        fd = process.open(path, os.O_WRONLY)
        return process.write(fd, data)


def refusal(call, *arguments, **keywords):
    with pytest.raises(KernelError) as caught:
        call(*arguments, **keywords)
    return caught.value.errno


def listing(kernel, path):
    with kernel.process() as process:
        return sorted(process.listdir(path))


def test_an_attribute_calls_the_module(kernel):
    assert kernel.cat(f"{DEMO}/number") == b"7\n"
    assert write(kernel, f"{DEMO}/number", b"0x10\n") == 5
    assert kernel.dmesg()[-1] == "kobject: kmod_emu_demo/number = 16 (err 0)"
    assert kernel.cat(f"{DEMO}/number") == b"16\n"


def test_what_the_module_refuses_the_writer_sees(kernel):
    assert refusal(write, kernel, f"{DEMO}/number", b"many") == errno.EINVAL
    assert refusal(kernel.cat, f"{DEMO}/text/secret") == errno.EPERM


def test_store_says_how_much_it_took(kernel):
    assert write(kernel, f"{DEMO}/text/label", b"a rather long label") == 15
    assert kernel.cat(f"{DEMO}/text/label") == b"a rather long l\n"


def test_a_group_shows_what_is_visible(kernel):
    assert listing(kernel, DEMO) == ["number", "raw", "text"]
    assert listing(kernel, f"{DEMO}/text") == ["label", "secret"]


def test_raw_bytes_come_a_page_at_a_time(kernel):
    write(kernel, f"{DEMO}/raw", b"\x01\x02\x03")
    contents = kernel.cat(f"{DEMO}/raw")
    assert len(contents) == 6000
    assert contents[:4] == b"\x01\x02\x03\0"
    assert kernel.dmesg()[-2:] == ["kobject: raw read 4096 at 0", "kobject: raw read 1904 at 4096"]


def test_raw_bytes_at_a_position(kernel):
    with kernel.process() as process:
        fd = process.open(f"{DEMO}/raw", os.O_RDWR)
        assert process.pwrite(fd, b"tail", 5998) == 2  # as far as it goes
        assert process.pread(fd, 10, 5997) == b"\0ta"
        assert kernel.dmesg()[-1] == "kobject: raw read 3 at 5997"
        assert process.pread(fd, 10, 6000) == b""
        assert process.syscall("pwrite64", fd, process.put(b"x"), 1, 6000) == -errno.EFBIG
        assert process.stat(f"{DEMO}/raw").size == 6000


def test_a_modules_own_directory_is_a_kobject(kernel):
    assert {"below", "demo", "refcnt", "sections"} <= set(listing(kernel, "/sys/module/kobject"))
    assert kernel.cat("/sys/module/kobject/demo/number") == b"7\n"  # through the link


def test_a_duplicate_name_is_refused_with_a_trace(kernel):
    lines = kernel.dmesg()
    start = lines.index(f"sysfs: cannot create duplicate filename '{DEMO.removeprefix('/sys')}/number'")
    assert "Call Trace:" in lines[start:]
    assert "kobject: second with the name: -17" in lines[start:]


def test_rmmod_leaves_nothing(kernel):
    write(kernel, f"{DEMO}/text/label", b"new\n")
    kernel.rmmod("kobject")
    assert kernel.dmesg()[-1] == "kobject: label was new"
    assert refusal(kernel.cat, f"{DEMO}/number") == errno.ENOENT
    assert "kmod_emu_demo" not in listing(kernel, "/sys/kernel")
    assert all("demo" not in place.name for place in kernel[Sysfs].of.values())


def test_an_open_attribute_of_a_removed_kobject_is_gone(kernel):
    with kernel.process() as process:
        fd = process.open(f"{DEMO}/number", os.O_WRONLY)
        kernel.rmmod("kobject")
        assert process.syscall("write", fd, process.put(b"1"), 1) == -errno.ENODEV


def test_it_survives_saving(kernel, tmp_path):
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    assert again.cat(f"{DEMO}/number") == b"7\n"
    assert listing(again, f"{DEMO}/text") == ["label", "secret"]
    assert again.cat("/sys/module/kobject/demo/number") == b"7\n"
    again.rmmod("kobject")
    assert refusal(again.cat, f"{DEMO}/number") == errno.ENOENT


def test_mistakes_of_a_driver(kernel):
    call, memory = kernel.call, kernel.memory
    kobj = kernel.heap.kmalloc(kernel.profile.struct("kobject").size)
    kernel.printk.clear()
    call(kernel.symbol("kobject_put"), kobj)
    assert any("is not initialized, yet kobject_put() is being called" in line for line in kernel.dmesg())
    assert call(kernel.symbol("kobject_add"), kobj, 0, 0) & 0xFFFFFFFF == (-errno.EINVAL) & 0xFFFFFFFF
    assert any("tried to add an uninitialized object" in line for line in kernel.dmesg())
    assert memory.read(kobj, 8) == bytes(8)


def test_who_polls_an_attribute_hears_of_its_change(kernel):
    news = select.POLLERR | select.POLLPRI
    with kernel.process() as process:
        fd = process.open(f"{DEMO}/number", os.O_RDWR)
        assert process.poll({fd: news}, 0) == {fd: news}  # nothing was read yet
        process.read(fd, 10)
        assert process.poll({fd: news}, 500) == {}
        process.write(fd, b"8")
        assert process.poll({fd: news}, 500) == {fd: news}
        assert process.pread(fd, 10, 0) == b"8\n"
        assert process.poll({fd: select.POLLIN | news}, 0) == {fd: select.POLLIN}


def test_an_attribute_has_the_size_of_a_page_and_keeps_its_mode(kernel):
    with kernel.process() as process:
        fd = process.open(f"{DEMO}/number")
        assert process.fstat(fd).size == process.lseek(fd, 0, os.SEEK_END) == 4096
        assert process.stat(f"{DEMO}/raw").size == 6000
        process.chmod(f"{DEMO}/number", 0o400)
    assert refusal(write, kernel, f"{DEMO}/number", b"1") == errno.EACCES  # root as well
    with kernel.process(uid=1000) as process:
        assert refusal(process.open, f"{DEMO}/number") == errno.EACCES


def test_a_binary_attribute_that_was_removed_is_no_device(kernel):
    """Also where its kobject, or the module that described it, is gone: nothing of that is looked at."""
    process = kernel.process()
    fd = process.open(f"{DEMO}/raw", os.O_RDWR)
    assert process.pread(fd, 1, 0)
    kernel.rmmod("kobject")
    for call in (lambda: process.pread(fd, 1, 0), lambda: process.pwrite(fd, b"x", 0)):
        assert refusal(call) == errno.ENODEV
    process.close(fd)
