"""Processes: user memory, descriptors, system calls with their errors."""

import os

import pytest

from kmod_emu import Kernel, KernelError, Killed, samples
from kmod_emu.machine.memory import PageFault
from kmod_emu.uapi import errno

HELLO = samples.path("hello").read_bytes()


@pytest.fixture
def kernel():
    return Kernel()


def error_of(call, *arguments) -> int:
    with pytest.raises(KernelError) as error:
        call(*arguments)
    return error.value.errno


def test_user_memory_is_the_process_own(kernel):
    with kernel.process() as one, kernel.process() as other:
        address = one.put(b"mine" * 3000)
        assert one.get(address, 12000) == b"mine" * 3000
        with pytest.raises(PageFault):
            other.get(address, 4)
        one.memory.unmap(address)
        with pytest.raises(PageFault):
            one.get(address, 1)


def test_a_process_gives_back_all_it_had(kernel):
    kernel.process().exit()
    before = kernel.pages.allocated, len(kernel.heap.live), kernel.vmalloc.allocated
    with kernel.process() as process:
        process.put(bytes(50_000))
        process.open("/proc/modules")
    assert (kernel.pages.allocated, len(kernel.heap.live), kernel.vmalloc.allocated) == before
    with pytest.raises(ProcessLookupError):
        process.syscall("close", 3)


def test_reading_a_file_in_pieces(kernel):
    kernel.insmod(HELLO)
    whole = kernel.cat("/proc/modules")
    with kernel.process() as process:
        fd = process.open("/proc/modules")
        assert process.read(fd, 5) + process.read(fd, 1000) == whole
        assert process.read(fd, 5) == b""
        assert error_of(process.lseek, fd, -3, os.SEEK_END) == errno.EINVAL, "seq_file knows no end"
        assert process.lseek(fd, len(whole) - 3, os.SEEK_SET) == len(whole) - 3
        assert process.read(fd, 100) == whole[-3:]
        assert error_of(process.lseek, fd, -1, os.SEEK_SET) == errno.EINVAL
        assert error_of(process.lseek, fd, 0, 9) == errno.EINVAL
        assert error_of(process.write, fd, b"x") == errno.EBADF
        process.close(fd)
        assert error_of(process.close, fd) == errno.EBADF


def test_opening_fails_as_linux_does(kernel):
    kernel.insmod(HELLO)
    with kernel.process() as root, kernel.process(uid=1000, gid=1000) as user:
        assert error_of(root.open, "") == errno.ENOENT
        assert error_of(root.open, "/proc/x") == errno.ENOENT
        assert error_of(root.open, "/" + "x" * 5000) == errno.ENAMETOOLONG
        assert error_of(root.open, "/proc", os.O_RDWR) == errno.EISDIR
        assert error_of(root.open, "/proc/sys/kernel/osrelease", os.O_WRONLY) == errno.EACCES, "not even root"
        assert error_of(root.write, root.open("/proc/modules", os.O_WRONLY), b"x") == errno.EIO
        assert error_of(user.open, "/sys/module/hello/sections/.exit.text") == errno.EACCES
        assert error_of(root.read, root.open("/proc"), 10) == errno.EISDIR
        assert root.syscall("open", 8, 0, 0) == -errno.EFAULT
        assert root.syscall("read", root.open("/proc/modules"), 8, 10) == -errno.EFAULT


def test_unknown_system_calls(kernel):
    with kernel.process() as process:
        for number in (174, 177, 178, 9999):
            assert process.syscall(number) == -errno.ENOSYS, "create_module and its kin are gone"
        with pytest.raises(LookupError):
            process.syscall("create_module")


def test_the_three_module_system_calls(kernel):
    with kernel.process(comm="loader") as process:
        process.init_module(HELLO, "")
        assert error_of(process.init_module, HELLO, "") == errno.EEXIST
        process.delete_module("hello")
        process.finit_module(HELLO)
        assert error_of(process.delete_module, "nothing") == errno.ENOENT
        process.delete_module(b"hello", os.O_NONBLOCK)
        assert error_of(process.finit_module, HELLO, "", 8) == errno.EINVAL
        assert error_of(process.finit_module, HELLO, "", 4) == errno.EOPNOTSUPP
    assert kernel.modules == []


@pytest.mark.parametrize("uid", [0, 1000])
def test_capabilities_count_not_the_uid(kernel, uid):
    with (
        kernel.process(uid=uid, capabilities=1 << 16) as able,
        kernel.process(uid=uid, capabilities=0) as unable,
    ):
        assert error_of(unable.init_module, HELLO) == errno.EPERM
        able.init_module(HELLO)
        assert error_of(unable.delete_module, "hello") == errno.EPERM


def test_modules_see_the_task_that_calls(kernel):
    """`current` is the process that made the system call: its name is in the module's printk."""
    with kernel.process(comm="a-loader-with-a-long-name") as process:
        process.init_module(samples.path("memory").read_bytes())
    assert any("caller is a-loader-with-a," in line for line in kernel.dmesg()), kernel.dmesg()


def test_an_oops_ends_only_its_process(kernel):
    process = kernel.process(comm="victim")
    with pytest.raises(Killed) as death:
        process.init_module(samples.path("oops_null").read_bytes())
    assert death.value.signal == 9
    with pytest.raises(ProcessLookupError):
        process.syscall("close", 3)
    kernel.insmod(HELLO)
    assert [module.name for module in kernel.modules] == ["hello", "oops_null"]


def test_parameters_can_be_read_and_written_while_loaded(kernel):
    kernel.insmod(samples.path("params"), "count=5")
    base = "/sys/module/params/parameters"
    with kernel.process() as root:
        assert root.read_file(f"{base}/count") == b"5\n"
        fd = root.open(f"{base}/level", os.O_WRONLY)
        assert root.write(fd, b"9\n") == 2
        assert error_of(root.write, fd, b"11") == errno.ERANGE
        root.close(fd)
        assert root.read_file(f"{base}/level") == b"9 of 10\n"
    assert r'params: level_set("9\x0a")' in [record.kmsg() for record in kernel.printk.readable()]
