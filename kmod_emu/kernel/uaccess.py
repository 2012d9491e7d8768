"""User memory from the kernel: every copy checks the address and may fall short (arch/x86/lib/usercopy*)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Convention, export
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.machine.memory import PAGE_SIZE, READ, WRITE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.dispatch import Registers
    from kmod_emu.kernel.kernel import KernelCore

_CLEAR_STEP = 1 << 16


def access_ok(address: int, size: int) -> bool:
    """Whether a range lies in user space (include/asm-generic/access_ok.h)."""
    return size <= TASK_SIZE_MAX and address <= TASK_SIZE_MAX - size


class UserMemory:
    """Copies between the kernel and the user memory of the task that runs."""

    def __init__(self, kernel: KernelCore) -> None:
        self._memory = kernel.memory

    def read(self, address: int, size: int, *, checked: bool = True) -> bytes:
        """As many of `size` bytes as the task may read, up to the first page it may not.

        Only user space is looked at if `checked`. `__get_user` and its like leave that to their callers, and
        read the kernel's memory as well.
        """
        return self._memory.read(address, self._reachable(address, size, READ, checked))

    def write(self, address: int, data: bytes, *, checked: bool = True) -> int:
        """Write as many bytes as the task may write; returns how many."""
        size = self._reachable(address, len(data), WRITE, checked)
        self._memory.write(address, data[:size])
        return size

    def clear(self, address: int, size: int) -> int:
        """Write as many zeros as the task may write, at most `size`; returns how many."""
        size = self._reachable(address, size, WRITE)
        self._memory.clear(address, size)
        return size

    def _reachable(self, address: int, size: int, perms: int, checked: bool = True) -> int:
        if checked and not access_ok(address, size):
            return 0
        if size <= PAGE_SIZE - address % PAGE_SIZE:  # most are small
            return size if size and self._memory.mapped(address, perms) else 0
        end = address
        while end < address + size and self._memory.mapped(end, perms):
            end = (end + PAGE_SIZE) & -PAGE_SIZE
        return min(end - address, size)

    def copy_from(self, address: int, size: int) -> bytes:
        """Read exactly `size` bytes or raise EFAULT."""
        data = self.read(address, size)
        if len(data) != size:
            raise KernelError(errno.EFAULT, f"the user buffer at {address:#x} is not readable to its end")
        return data

    def strndup(self, address: int, limit: int) -> bytes:
        """A NUL-terminated string of at most `limit` bytes with its NUL (mm/util.c: strndup_user).

        Raises:
            KernelError: EFAULT for a bad address, EINVAL for a longer string.
        """
        text = bytearray()
        while len(text) < limit:
            piece = self.read(address + len(text), min(PAGE_SIZE - (address + len(text)) % PAGE_SIZE, limit))
            if not piece:
                raise KernelError(errno.EFAULT, f"the user string at {address:#x} is not readable")
            end = piece.find(0)
            if end >= 0:
                text += piece[:end]
                if len(text) < limit:
                    return bytes(text)
                break
            text += piece
        raise KernelError(errno.EINVAL, f"the user string at {address:#x} is longer than {limit - 1} bytes")


@export("unsigned long _copy_from_user(void *to, const void __user *from, unsigned long n)")
def _copy_from_user(kernel: KernelCore, to: int, from_: int, n: int) -> int:
    """Copy in; returns the bytes not copied, which are zeroed (lib/usercopy.c)."""
    data = kernel.user.read(from_, n)
    kernel.memory.write(to, data)
    for place in range(to + len(data), to + n, _CLEAR_STEP):  # `n` may be anything: up to a page fault
        kernel.memory.clear(place, min(_CLEAR_STEP, to + n - place))
    return n - len(data)


@export("unsigned long _copy_to_user(void __user *to, const void *from, unsigned long n)")
def _copy_to_user(kernel: KernelCore, to: int, from_: int, n: int) -> int:
    """Copy out; returns the bytes not copied (lib/usercopy.c)."""
    return n - kernel.user.write(to, kernel.memory.read(from_, n))


@export("unsigned long clear_user(void __user *to, unsigned long n)")
def clear_user(kernel: KernelCore, to: int, n: int) -> int:
    """Zero user memory; returns the bytes not cleared (arch/x86/lib/usercopy_64.c)."""
    return n - kernel.user.clear(to, n)


@export("long strncpy_from_user(char *dst, const char __user *src, long count)")
def strncpy_from_user(kernel: KernelCore, dst: int, src: int, count: int) -> int:
    """Copy a string in; its length, or `count` without a NUL, or -EFAULT (lib/strncpy_from_user.c)."""
    if count <= 0:
        return 0
    data = kernel.user.read(src, min(count, TASK_SIZE_MAX - src) if src < TASK_SIZE_MAX else count)
    end = data.find(0)
    if end < 0 and len(data) < count:
        raise KernelError(errno.EFAULT)
    text = data[: end + 1] if end >= 0 else data
    kernel.memory.write(dst, text)
    return end if end >= 0 else count


@export("long strnlen_user(const char __user *str, long n)")
def strnlen_user(kernel: KernelCore, str_: int, n: int) -> int:
    """Length with the NUL, more than `n` without one, 0 on a fault (lib/strnlen_user.c)."""
    if n <= 0 or str_ >= TASK_SIZE_MAX:
        return 0
    data = kernel.user.read(str_, min(n, TASK_SIZE_MAX - str_))
    end = data.find(0)
    return end + 1 if end >= 0 else n + 1 if len(data) == n else 0


def _copy_user(name: str) -> None:
    @export(f"unsigned long {name}(void *to, const void *from, unsigned len)")
    def copy(kernel: KernelCore, to: int, from_: int, len_: int) -> int:
        """Copy between any addresses; returns the bytes not copied (arch/x86/lib/copy_user_64.S)."""
        return len_ - kernel.user.write(to, kernel.user.read(from_, len_, checked=False), checked=False)


for _name in ("copy_user_generic_unrolled", "copy_user_generic_string", "copy_user_enhanced_fast_string"):
    _copy_user(_name)


def _get_user(size: int, name: str, *, checked: bool) -> None:
    @export(f"int __get_user_{name}(void)", convention=Convention.REGISTERS)
    def get(kernel: KernelCore, registers: Registers) -> None:
        """RAX: pointer in, 0 or -EFAULT out; RDX: the value, zero-extended (arch/x86/lib/getuser.S)."""
        data = kernel.user.read(registers["rax"], size, checked=checked)
        good = len(data) == size
        registers["rdx"] = int.from_bytes(data, "little") if good else 0
        registers["rax"] = 0 if good else -errno.EFAULT & 0xFFFF_FFFF_FFFF_FFFF

    @export(f"int __put_user_{name}(void)", convention=Convention.REGISTERS)
    def put(kernel: KernelCore, registers: Registers) -> None:
        """RCX: pointer in, 0 or -EFAULT out; RAX: the value (arch/x86/lib/putuser.S)."""
        value = registers["rax"].to_bytes(8, "little")[:size]
        good = kernel.user.write(registers["rcx"], value, checked=checked) == size
        registers["rcx"] = 0 if good else -errno.EFAULT & 0xFFFF_FFFF


for _size in (1, 2, 4, 8):
    _get_user(_size, str(_size), checked=True)
    _get_user(_size, f"nocheck_{_size}", checked=False)


# --- copies of user memory on the heap (mm/util.c) --------------------------------------------------------


def _duplicate(kernel: KernelCore, data: bytes) -> int:
    place = kernel.heap.kmalloc(len(data))
    if not place:
        return -errno.ENOMEM
    kernel.memory.write(place, data)
    return place


def _define_duplicates() -> None:
    def define(name: str, end: bytes) -> None:
        @export(f"void *{name}(const void __user *src, size_t len)")
        def duplicate(kernel: KernelCore, src: int, len: int) -> int:
            """A copy, or an error pointer."""
            return _duplicate(kernel, kernel.user.copy_from(src, len) + end)

    for name, end in {"memdup_user": b"", "vmemdup_user": b"", "memdup_user_nul": b"\0"}.items():
        define(name, end)


_define_duplicates()


@export("char *strndup_user(const char __user *s, long n)")
def strndup_user(kernel: KernelCore, s: int, n: int) -> int:
    """A copy of a string of at most n bytes with its NUL; EINVAL if it is longer."""
    return _duplicate(kernel, kernel.user.strndup(s, n))
