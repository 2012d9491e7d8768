"""Copies between kernel and user memory, short ones above all."""

import errno

import pytest

from kmod_emu import KernelError, Killed
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.kernel.uaccess import access_ok
from kmod_emu.machine.memory import READ

USER, PAGE = 0x40_0000, 4096
END = USER + 2 * PAGE
EFAULT = -errno.EFAULT & 0xFFFF_FFFF_FFFF_FFFF


@pytest.fixture
def task(guest):
    """The task whose memory the kernel sees: two pages at USER."""
    return guest.user_task()


@pytest.fixture
def user(kernel, task):
    """Fills user memory; reads it back when called without data."""

    def access(address, data=None, size=0):
        kernel.tasks.switched(task)
        if data is None:
            return kernel.memory.read(address, size)
        return kernel.memory.write(address, data)

    return access


@pytest.fixture
def call(guest, task):
    return lambda name, *arguments: guest.as_task(task, name, *arguments)


@pytest.mark.parametrize(
    ("address", "size", "good"),
    [
        (0, 0, True),
        (USER, PAGE, True),
        (TASK_SIZE_MAX, 0, True),
        (TASK_SIZE_MAX - 1, 1, True),
        (TASK_SIZE_MAX - 1, 2, False),
        (0xFFFF_8880_0000_0000, 1, False),
        (1, (1 << 64) - 1, False),
    ],
)
def test_access_ok(address, size, good):
    assert access_ok(address, size) is good


def test_copy_from_user(kernel, guest, user, call):
    user(USER + PAGE - 3, b"across")
    to = guest.data(b"\xff" * 16)
    assert call("_copy_from_user", to, USER + PAGE - 3, 6) == 0
    assert kernel.memory.read(to, 8) == b"across\xff\xff"


def test_short_copy_from_user_zeroes_the_rest(kernel, guest, user, call):
    user(END - 4, b"tail")
    to = guest.data(b"\xff" * 16)
    assert call("_copy_from_user", to, END - 4, 10) == 6
    assert kernel.memory.read(to, 11) == b"tail" + bytes(6) + b"\xff"


@pytest.mark.parametrize("address", [0, END, 0xFFFF_8880_0010_0000, (1 << 64) - 1])
def test_copy_from_nowhere(kernel, guest, call, address):
    to = guest.data(b"\xff" * 16)
    assert call("_copy_from_user", to, address, 8) == 8
    assert kernel.memory.read(to, 9) == bytes(8) + b"\xff"


def test_copy_from_user_into_a_bad_kernel_pointer_is_an_oops(kernel, call):
    with pytest.raises(Killed):
        call("_copy_from_user", 0x10, USER, 8)
    assert "BUG: kernel NULL pointer dereference, address: 0000000000000010" in kernel.dmesg()


@pytest.mark.parametrize("size", [1 << 31, 1 << 46, (1 << 64) - 1])
def test_copy_of_more_than_there_is_memory(guest, call, size):
    """The rest of the buffer is zeroed until that faults; it must not be made in Python first."""
    with pytest.raises(Killed):
        call("_copy_from_user", guest.data(b""), USER, size)


def test_copy_to_user(guest, user, call):
    assert call("_copy_to_user", USER + PAGE - 2, guest.data(b"abcd"), 4) == 0
    assert user(USER + PAGE - 2, size=4) == b"abcd"


def test_short_copy_to_user(guest, user, call):
    assert call("_copy_to_user", END - 2, guest.data(b"abcd"), 4) == 2
    assert user(END - 2, size=2) == b"ab"


def test_copy_to_kernel_addresses_is_refused(kernel, guest, call):
    victim = guest.data(b"secret")
    assert call("_copy_to_user", victim, guest.data(b"attack"), 6) == 6
    assert kernel.memory.read(victim, 6) == b"secret"


def test_read_only_user_memory(kernel, guest):
    task = guest.user_task(perms=READ)
    source = guest.data(b"abcd")
    assert guest.as_task(task, "_copy_to_user", USER, source, 4) == 4
    assert guest.as_task(task, "clear_user", USER, 4) == 4
    assert guest.as_task(task, "_copy_from_user", source, USER, 4) == 0
    assert kernel.memory.read(source, 4) == bytes(4)


def test_clear_user(user, call):
    user(END - 8, b"x" * 8)
    assert call("clear_user", END - 4, 10) == 6
    assert user(END - 8, size=8) == b"xxxx\0\0\0\0"
    assert call("clear_user", USER, 1 << 46) == (1 << 46) - 2 * PAGE


def test_kernel_threads_have_no_user_memory(kernel, guest):
    assert guest.export("_copy_from_user", guest.data(b"", 8), USER, 8) == 8


@pytest.mark.parametrize("nocheck", ["", "nocheck_"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_get_user(kernel, guest, user, task, size, nocheck):
    """RAX is the pointer and then the result, RDX the value; nothing else changes.

    Without access_ok() before it, `__get_user` reads the kernel's memory too.
    """
    user(USER, bytes(range(0x81, 0x89)))
    code = guest.code(
        "push rbx; mov rax, rdi; mov rbx, 11; mov rcx, 22; mov rdx, -1; call {get}; cmp rbx, 11; jne bad; "
        "cmp rcx, 22; jne bad; mov [rsi], rax; mov [rsi + 8], rdx; pop rbx; ret; bad: ud2",
        get=kernel.symbol(f"__get_user_{nocheck}{size}"),
    )
    out = guest.data(b"", 16)
    value = int.from_bytes(bytes(range(0x81, 0x81 + size)), "little")
    kernels = guest.data((0x5A).to_bytes(8, "little"))
    of_kernel = (0, 0x5A) if nocheck else (EFAULT, 0)
    for address, expected in [(USER, (0, value)), (END - size + 1, (EFAULT, 0)), (kernels, of_kernel)]:
        kernel.sched.run(task, kernel.call_guest(code, address, out))
        assert (kernel.memory.read_u64(out), kernel.memory.read_u64(out + 8)) == expected


@pytest.mark.parametrize("nocheck", ["", "nocheck_"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_put_user(kernel, guest, user, task, size, nocheck):
    """RAX is the value, RCX the pointer and then the result; nothing else changes."""
    code = guest.code(
        "push rbx; mov rcx, rdi; mov rbx, 11; mov rdx, 33; mov rax, 0x1122334455667788; mov r8, rax; "
        "call {put}; cmp rbx, 11; jne bad; cmp rdx, 33; jne bad; cmp rax, r8; jne bad; "
        "mov eax, ecx; pop rbx; ret; bad: ud2",
        put=kernel.symbol(f"__put_user_{nocheck}{size}"),
    )
    assert kernel.sched.run(task, kernel.call_guest(code, USER)) == 0
    assert user(USER, size=9) == (0x1122334455667788).to_bytes(8, "little")[:size].ljust(9, b"\0")
    assert kernel.sched.run(task, kernel.call_guest(code, END)) == EFAULT & 0xFFFF_FFFF
    of_kernel = 0 if nocheck else EFAULT & 0xFFFF_FFFF
    assert kernel.sched.run(task, kernel.call_guest(code, guest.data(b"", 8))) == of_kernel


@pytest.mark.parametrize("name", ["unrolled", "generic_string", "enhanced_fast_string"])
def test_copies_that_inlined_code_calls(kernel, guest, user, call, name):
    """`copy_from_user` and `copy_to_user` of a constant size are inlined down to one of these."""
    name = f"copy_user_{'generic_' if name == 'unrolled' else ''}{name}"
    to = guest.data(b"\xff" * 16)
    user(END - 4, b"tail")
    assert call(name, to, END - 4, 4) == 0
    assert call(name, to + 8, END - 2, 4) == 2
    assert kernel.memory.read(to, 11) == b"tail" + b"\xff" * 4 + b"il\xff"
    assert call(name, END - 1, to, 4) == 3
    assert user(END - 1, size=1) == b"t"


@pytest.mark.parametrize(
    ("at", "count", "result", "stored"),
    [
        (USER, 100, 5, b"hello\0"),
        (USER, 5, 5, b"hello"),
        (USER, 3, 3, b"hel"),
        (USER, 0, 0, b""),
        (END - 2, 2, 2, b"xy"),
        (END - 2, 3, EFAULT, b""),
        (END, 3, EFAULT, b""),
        ((1 << 64) - 1, 3, EFAULT, b""),
    ],
)
def test_strncpy_from_user(kernel, guest, user, call, at, count, result, stored):
    user(USER, b"hello\0")
    user(END - 2, b"xy")
    to = guest.data(b"\xff" * 16)
    assert call("strncpy_from_user", to, at, count) == result
    assert kernel.memory.read(to, len(stored) + 1) == stored + b"\xff"


@pytest.mark.parametrize(
    ("at", "limit", "result"),
    [(USER, 100, 6), (USER, 6, 6), (USER, 5, 6), (USER, 0, 0), (END - 2, 2, 3), (END - 2, 3, 0), (END, 1, 0)],
)
def test_strnlen_user(user, call, at, limit, result):
    user(USER, b"hello\0")
    user(END - 2, b"xy")
    assert call("strnlen_user", at, limit) == result


@pytest.mark.parametrize(
    ("at", "limit", "error"),
    [(USER, 5, errno.EINVAL), (END - 2, 100, errno.EFAULT), (END, 4, errno.EFAULT), (0, 4, errno.EFAULT)],
)
def test_strndup_refuses(kernel, user, at, limit, error):
    user(USER, b"hello\0")
    user(END - 2, b"xy")
    with pytest.raises(KernelError) as caught:
        kernel.user.strndup(at, limit)
    assert caught.value.errno == error


def test_strndup_across_pages(kernel, user):
    user(USER + PAGE - 3, b"hello\0")
    assert kernel.user.strndup(USER + PAGE - 3, 6) == b"hello"


def test_copy_from_is_all_or_efault(kernel, user):
    user(USER, b"hello")
    assert kernel.user.copy_from(USER, 5) == b"hello"
    with pytest.raises(KernelError) as caught:
        kernel.user.copy_from(END - 1, 2)
    assert caught.value.errno == errno.EFAULT


def test_hardened_usercopy(kernel, guest):
    address = guest.export("__kmalloc", 60, 0)
    guest.export("__check_object_size", address, 64, 1)
    with pytest.raises(Killed):
        guest.export("__check_object_size", address, 65, 1)
    assert any("Kernel memory exposure attempt detected from SLUB object" in line for line in kernel.dmesg())
