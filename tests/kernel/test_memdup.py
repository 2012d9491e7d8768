"""Copies of user memory, and memory that may not be there."""

import pytest

from kmod_emu.kernel.slab import ZERO_SIZE_PTR
from kmod_emu.uapi import errno
from tests.kernel.conftest import PAGE, USER

END = USER + 2 * PAGE
MASK = (1 << 64) - 1


@pytest.fixture
def task(guest):
    task = guest.user_task()
    task.mm.write(USER, b"user text\0" + b"\1" * 10)
    task.mm.write(END - 4, b"last")
    return task


@pytest.fixture
def call(guest, task):
    return lambda name, *arguments: guest.as_task(task, name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "copy"),
    [
        ("memdup_user", (USER, 4), b"user"),
        ("vmemdup_user", (USER, 4), b"user"),
        ("memdup_user_nul", (USER, 4), b"user\0"),
        ("memdup_user_nul", (END - 4, 4), b"last\0"),
        ("strndup_user", (USER, 10), b"user text\0"),
        ("memdup_user", (END - 4, 5), -errno.EFAULT),
        ("vmemdup_user", (0xFFFF_8880_0000_0000, 4), -errno.EFAULT),
        ("memdup_user_nul", (8, 4), -errno.EFAULT),
        ("strndup_user", (USER, 9), -errno.EINVAL),
        ("strndup_user", (END - 4, 10), -errno.EFAULT),
    ],
)
def test_copies(kernel, call, name, arguments, copy):
    held = kernel.held()
    address = call(name, *arguments)
    if isinstance(copy, int):
        assert address == copy & MASK
    else:
        assert kernel.memory.read(address, len(copy)) == copy
        call("kvfree", address)
    assert kernel.held() == held


def test_nothing_is_copied_to_where_nothing_fits(call):
    assert call("memdup_user", USER, 0) == ZERO_SIZE_PTR


def test_zeroed_memory(call):
    assert [call("check_zeroed_user", a, n) for a, n in ((USER, 4), (USER + 20, 100), (USER, 0))] == [0, 1, 1]
    assert call("check_zeroed_user", END, 1) & 0xFFFF_FFFF == -errno.EFAULT & 0xFFFF_FFFF


def test_wrong_addresses_are_no_fault(kernel, guest, call):
    room, source = guest.data(bytes(16)), guest.text("Linux")
    assert call("copy_from_kernel_nofault", room, source, 5) == 0
    assert kernel.memory.read(room, 5) == b"Linux"
    for wrong, error in (
        (USER, errno.ERANGE),
        (1 << 50, errno.ERANGE),
        (0xFFFF_C8FF_0000_0000, errno.EFAULT),
    ):
        assert call("copy_from_kernel_nofault", room, wrong, 8) == -error & MASK
    assert call("copy_from_user_nofault", room, USER, 4) == 0
    assert kernel.memory.read(room, 4) == b"user"
    assert call("copy_from_user_nofault", room, END - 2, 4) == -errno.EFAULT & MASK
    assert call("copy_to_user_nofault", USER, room, 2) == 0
    assert call("copy_to_user_nofault", source, room, 2) == -errno.EFAULT & MASK
