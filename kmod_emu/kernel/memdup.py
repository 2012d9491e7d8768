"""Copies of user memory for the kernel, and memory that may not be there (mm/util.c, mm/maccess.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.kernel.slab import kvmalloc_node
from kmod_emu.machine.memory import PAGE_SIZE, READ
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_CANONICAL_HOLE_END = 0xFFFF_8000_0000_0000


def _placed(kernel: KernelCore, place: int, data: bytes) -> int:
    if not place:
        raise KernelError(errno.ENOMEM)
    kernel.memory.write(place, data)
    return place


@export("void *memdup_user(const void __user *src, size_t len)")
def memdup_user(kernel: KernelCore, src: int, len: int) -> int:
    """A copy for kfree(), or an error pointer."""
    data = kernel.user.copy_from(src, len)
    return _placed(kernel, kernel.heap.kmalloc(len), data)


@export("void *vmemdup_user(const void __user *src, size_t len)")
def vmemdup_user(kernel: KernelCore, src: int, len: int) -> int:
    """A copy for kvfree(), which may be large."""
    data = kernel.user.copy_from(src, len)
    return _placed(kernel, kvmalloc_node(kernel, len, 0, 0), data)


@export("void *memdup_user_nul(const void __user *src, size_t len)")
def memdup_user_nul(kernel: KernelCore, src: int, len: int) -> int:
    """A copy with a NUL behind it."""
    data = kernel.user.copy_from(src, len)
    return _placed(kernel, kernel.heap.kmalloc(len + 1), data + b"\0")


@export("char *strndup_user(const char __user *s, long n)")
def strndup_user(kernel: KernelCore, s: int, n: int) -> int:
    """A copy of a string of at most `n` bytes with its NUL."""
    text = kernel.user.strndup(s, n) + b"\0"
    return _placed(kernel, kernel.heap.kmalloc(len(text)), text)


@export("int check_zeroed_user(const void __user *from, size_t size)")
def check_zeroed_user(kernel: KernelCore, from_: int, size: int) -> int:
    """1 if all of it is zero, 0 if not (lib/usercopy.c)."""
    return int(not any(kernel.user.copy_from(from_, size)))


# --- without a fault ------------------------------------------------------------------------------------


@export("long copy_from_kernel_nofault(void *dst, const void *src, size_t size)")
def copy_from_kernel_nofault(kernel: KernelCore, dst: int, src: int, size: int) -> int:
    """Copy from an address that may be wrong: ERANGE where the kernel has nothing at all, else EFAULT."""
    if src < TASK_SIZE_MAX + PAGE_SIZE or src < _CANONICAL_HOLE_END:
        return -errno.ERANGE
    if any(not kernel.memory.mapped(page, READ) for page in range(src & -PAGE_SIZE, src + size, PAGE_SIZE)):
        return -errno.EFAULT
    kernel.memory.write(dst, kernel.memory.read(src, size))
    return 0


@export("long copy_from_user_nofault(void *dst, const void __user *src, size_t size)")
def copy_from_user_nofault(kernel: KernelCore, dst: int, src: int, size: int) -> int:
    """Copy from user memory where nothing may sleep."""
    kernel.memory.write(dst, kernel.user.copy_from(src, size))
    return 0


@export("long copy_to_user_nofault(void __user *dst, const void *src, size_t size)")
def copy_to_user_nofault(kernel: KernelCore, dst: int, src: int, size: int) -> int:
    """Copy to user memory where nothing may sleep."""
    return 0 if kernel.user.write(dst, kernel.memory.read(src, size)) == size else -errno.EFAULT
