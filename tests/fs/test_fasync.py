"""Asynchronous notification and anonymous inodes, by the sample `fasync`."""

import errno
import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.kernel.signal import pending

F_GETFL, F_SETFL, F_SETOWN, O_ASYNC = 3, 4, 8, 0o20000
SIGIO, NEW_TICKET = 29, 0x6601


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("fasync"))
    return kernel


def listen(process):
    fd = process.open("/dev/news", os.O_RDWR)
    process.syscall("fcntl", fd, F_SETOWN, process.pid)
    process.syscall("fcntl", fd, F_SETFL, process.syscall("fcntl", fd, F_GETFL, 0) | O_ASYNC)
    return fd


def has_signal(kernel, process):
    return bool(pending(kernel, process.task) >> SIGIO - 1 & 1)


def test_a_write_signals_the_reader(kernel):
    reader, writer = kernel.process(comm="reader"), kernel.process(comm="writer")
    fd = listen(reader)
    assert kernel.dmesg()[-1] == f"fasync: fd {fd} on 1: 1"
    assert not has_signal(kernel, reader)
    writer.write(writer.open("/dev/news", os.O_RDWR), b"hear")
    assert has_signal(kernel, reader)
    assert not has_signal(kernel, writer)
    assert reader.read(fd, 10) == b"hear"


def test_closing_ends_it(kernel):
    reader, writer = kernel.process(comm="reader"), kernel.process(comm="writer")
    reader.close(listen(reader))
    assert kernel.dmesg()[-1] == "fasync: fd -1 on 0: 1"
    writer.write(writer.open("/dev/news", os.O_RDWR), b"hear")
    assert not has_signal(kernel, reader)


def test_a_descriptor_without_a_name(kernel):
    process = kernel.process()
    fd = process.open("/dev/news", os.O_RDWR)
    ticket = process.ioctl(fd, NEW_TICKET, 7)
    assert ticket == fd + 1
    assert process.read(ticket, 100) == b"ticket 7\n"
    with pytest.raises(KernelError) as caught:
        process.write(ticket, b"x")
    assert caught.value.errno == errno.EBADF
    process.close(fd)
    assert kernel.modules[0].refcnt == 1  # the ticket's
    process.close(ticket)
    assert kernel.dmesg()[-1] == "fasync: ticket 7 goes"
    assert kernel.modules[0].refcnt == 0


def test_nothing_is_left(kernel):
    def use():
        with kernel.process() as process:
            process.ioctl(listen(process), NEW_TICKET, 1)

    use()
    before = kernel.held()
    use()
    assert kernel.held() == before
