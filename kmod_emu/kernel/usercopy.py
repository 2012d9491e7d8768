"""Hardened usercopy: what is copied from or to a program must lie in one object (mm/usercopy.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.layout import PAGE_OFFSET, RAM_SIZE, THREAD_SIZE, VMALLOC_SIZE, VMALLOC_START
from kmod_emu.kernel.slab import ZERO_SIZE_PTR
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_MASK64 = (1 << 64) - 1


def _abort(kernel: KernelCore, what: str, to_user: bool, offset: int, size: int) -> NoReturn:
    """usercopy_abort(): the text, and BUG()."""
    attempt = "exposure attempt detected from" if to_user else "overwrite attempt detected to"
    text = f"Kernel memory {attempt} {what} (offset {offset & _MASK64}, size {size})!"
    kernel.printk.emit(f"usercopy: {text}\n", 0)
    kernel.oopses.bug(text.removesuffix("!"), ("mm/usercopy.c", 101))


@export("void __check_object_size(const void *ptr, unsigned long n, bool to_user)")
def __check_object_size(kernel: KernelCore, ptr: int, n: int, to_user: bool) -> None:
    """Stop a copy that would leave its object (mm/usercopy.c)."""
    if not n:
        return
    if ptr + n - 1 > _MASK64:
        _abort(kernel, "wrapped address", to_user, 0, ptr + n & _MASK64)
    if ptr <= ZERO_SIZE_PTR:
        _abort(kernel, "null address", to_user, ptr, n)
    if not _check_stack_object(kernel, ptr, n, to_user):
        _check_heap_object(kernel, ptr, n, to_user)
        _check_kernel_text_object(kernel, ptr, n, to_user)


def _check_stack_object(kernel: KernelCore, ptr: int, n: int, to_user: bool) -> bool:
    """Whether it is on the stack: then wholly, and in a frame that is in use."""
    stack = kernel.sched.current.stack
    end, pointer = stack + THREAD_SIZE, kernel.traps.stack_pointer
    if ptr + n <= stack or end <= ptr:
        return False
    if ptr < stack or end < ptr + n or pointer >= ptr + n:
        _abort(kernel, "process stack", to_user, ptr - pointer, n)
    return True


def _check_heap_object(kernel: KernelCore, ptr: int, n: int, to_user: bool) -> None:
    if VMALLOC_START <= ptr < VMALLOC_START + VMALLOC_SIZE:
        area = kernel.vmalloc.area(ptr)
        if area is None:
            _abort(kernel, "vmalloc 'no area'", to_user, 0, n)
        start, size = area
        if n > start + size + PAGE_SIZE - ptr:  # with its guard page
            _abort(kernel, "vmalloc", to_user, ptr - start, n)
    if not PAGE_OFFSET <= ptr < PAGE_OFFSET + RAM_SIZE:
        return
    block, order = kernel.pages.block_of(ptr) or (ptr, 0)
    cache = kernel.heap.slab_of(block)
    if cache is not None:
        offset, (first, size) = (ptr - block) % cache.stride, cache.user
        if not (first <= offset <= first + size and n <= first + size - offset):
            _abort(kernel, f"SLUB object '{cache.name}'", to_user, offset, n)
    elif order and n > (PAGE_SIZE << order) - (ptr - block):
        _abort(kernel, "page alloc", to_user, ptr - block, n)


def _check_kernel_text_object(kernel: KernelCore, ptr: int, n: int, to_user: bool) -> None:
    start, end = kernel.symbols.address("_text"), kernel.symbols.address("_etext")
    if ptr < end and ptr + n > start:
        _abort(kernel, "kernel text", to_user, ptr - start, n)
