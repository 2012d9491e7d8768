import errno

import pytest

from kmod_emu import KernelError

O_RDWR = 2
NOWHERE = 0x1000


@pytest.fixture
def note(insmod, process):
    insmod("note.c")
    return process.open("/dev/note", O_RDWR)


def test_room(note, process):
    assert process.write(note, b"x" * 60) == 60
    assert process.write(note, b"y" * 60) == 4
    with pytest.raises(KernelError) as refused:
        process.write(note, b"z")
    assert refused.value.errno == errno.ENOSPC
    again = process.open("/dev/note", O_RDWR)
    assert process.read(again, 100) == b"x" * 60 + b"y" * 4


def test_bad_pointers(note, process):
    assert process.syscall("write", note, NOWHERE, 10) == -errno.EFAULT
    process.write(note, b"hello")
    again = process.open("/dev/note", O_RDWR)
    assert process.syscall("read", again, NOWHERE, 5) == -errno.EFAULT
