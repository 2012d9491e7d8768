import errno

import pytest

O_RDWR, O_NONBLOCK = 2, 0o4000


@pytest.fixture
def mailbox(insmod, process):
    insmod("mailbox.c")
    return process.open("/dev/mailbox", O_RDWR | O_NONBLOCK)


def read(process, fd, size=100):
    address = process.put(bytes(size))
    count = process.syscall("read", fd, address, size)
    return count if count < 0 else process.get(address, count)


def test_once(mailbox, process):
    process.write(mailbox, b"hello")
    assert read(process, mailbox, 3) == b"hel"
    assert read(process, mailbox) == -errno.EAGAIN
    process.write(mailbox, b"two")
    assert read(process, mailbox) == b"two"


def test_nonblock(mailbox, process):
    assert read(process, mailbox) == -errno.EAGAIN


def test_two_readers(mailbox, process, kernel):
    readers = []
    for _ in range(2):
        reader = kernel.process()
        fd = reader.open("/dev/mailbox", O_RDWR)
        address = reader.put(bytes(10))
        reader.start("read", fd, address, 10)
        readers.append((reader, address))
    kernel.advance(1)
    assert not any(reader.task.finished for reader, _ in readers)
    process.write(mailbox, b"hello")
    kernel.advance(1)
    done = [(reader.wait(), reader.get(address, 5)) for reader, address in readers if reader.task.finished]
    assert done == [(5, b"hello")]
