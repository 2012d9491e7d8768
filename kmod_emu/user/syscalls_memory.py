"""System calls on the program's own memory (mm/mmap.c, mm/mprotect.c, mm/madvise.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.layout import TASK_SIZE_MAX
from kmod_emu.kernel.mm import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    MAP_SHARED,
    MMAP_MIN_ADDR,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    MemoryMap,
)
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, page_align
from kmod_emu.uapi import errno
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_PROT_ALL = PROT_READ | PROT_WRITE | PROT_EXEC | 0x0100_0000 | 0x0200_0000  # PROT_GROWSDOWN, PROT_GROWSUP
_MAP_TYPE, _MAP_SHARED_VALIDATE = 0xF, 3
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MADV_DONTNEED, _MADV_FREE = 4, 8
_MADV_KNOWN = {0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}


def _mm(kernel: KernelCore) -> MemoryMap:
    mm = kernel.sched.current.mm
    assert mm is not None
    return mm


@syscall(12)
async def sys_brk(kernel: KernelCore, brk: int) -> int:
    """Move the end of the heap; the end there is then."""
    mm = _mm(kernel)
    old, new = page_align(mm.brk), page_align(brk)
    if brk < mm.brk_start or new > TASK_SIZE_MAX or not mm.brk_start:
        return mm.brk
    if new < old:
        mm.unmap(new, old - new)
    elif new > old:
        if mm.overlaps(old, new):
            return mm.brk
        heap = mm.find(old - 1)
        if heap is not None and heap.name == "[heap]" and heap.end == old:
            heap.end = new
        else:
            mm.map(new - old, PROT_READ | PROT_WRITE, at=old, name="[heap]")
    mm.brk = brk
    return brk


@syscall(9)
async def sys_mmap(
    kernel: KernelCore, addr: int, length: int, prot: int, flags: int, fd: int, off: int
) -> int:
    """Map zeros, a file's contents, or what a driver's mmap gives (ksys_mmap_pgoff, do_mmap)."""
    mm = _mm(kernel)
    if off & (PAGE_SIZE - 1):
        raise KernelError(errno.EINVAL, "the offset is not a multiple of the page size")
    file = None if flags & MAP_ANONYMOUS else arguments.file(kernel, fd)
    if not length:
        raise KernelError(errno.EINVAL, "a mapping of 0 bytes")
    size = page_align(length)
    if size > TASK_SIZE_MAX:
        raise KernelError(errno.ENOMEM, f"a mapping of {length} bytes")
    kind = flags & _MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE, _MAP_SHARED_VALIDATE):
        raise KernelError(errno.EINVAL, "a mapping is either shared or private")
    at = _place(mm, addr, size, flags)
    shared = kind != MAP_PRIVATE
    if file is None:
        return mm.map(size, prot, at=at, shared=shared)
    from kmod_emu.user.mmap import map_file

    return await map_file(kernel, mm, file, at, size, prot, off, shared=shared)


def _place(mm: MemoryMap, addr: int, size: int, flags: int) -> int | None:
    """Where a mapping must go, None if anywhere."""
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
        if addr & (PAGE_SIZE - 1) or addr + size > TASK_SIZE_MAX:
            raise KernelError(errno.EINVAL if addr & (PAGE_SIZE - 1) else errno.ENOMEM)
        if addr < MMAP_MIN_ADDR:
            raise KernelError(errno.EPERM, "addresses below 64 KiB are not mapped: vm.mmap_min_addr")
        if flags & MAP_FIXED_NOREPLACE and mm.overlaps(addr, addr + size):
            raise KernelError(errno.EEXIST, "something is mapped there")
        return addr
    hint = page_align(addr)
    if hint >= MMAP_MIN_ADDR and hint + size <= TASK_SIZE_MAX and not mm.overlaps(hint, hint + size):
        return hint
    return None


@syscall(11)
async def sys_munmap(kernel: KernelCore, addr: int, length: int) -> int:
    """Unmap a range, whatever is in it."""
    if addr & (PAGE_SIZE - 1) or not length or addr + length > TASK_SIZE_MAX:
        raise KernelError(errno.EINVAL)
    await _unmap(kernel, addr, length)
    return 0


async def _unmap(kernel: KernelCore, addr: int, length: int) -> None:
    mm = _mm(kernel)
    for owner in dict.fromkeys(mm.unmap(addr, length)):
        await owner.closed(mm)


@syscall(10)
async def sys_mprotect(kernel: KernelCore, start: int, length: int, prot: int) -> int:
    """Change what may be done with a range."""
    if start & (PAGE_SIZE - 1) or prot & ~_PROT_ALL:
        raise KernelError(errno.EINVAL)
    if length:
        if start + length > TASK_SIZE_MAX:
            raise KernelError(errno.ENOMEM)
        _mm(kernel).protect(start, length, prot & 7)
    return 0


@syscall(25)
async def sys_mremap(
    kernel: KernelCore, addr: int, old_len: int, new_len: int, flags: int, new_addr: int
) -> int:
    """Make a mapping longer or shorter; it may move."""
    mm = _mm(kernel)
    old, new = page_align(old_len), page_align(new_len)
    if addr & (PAGE_SIZE - 1) or flags & ~3 or not new or flags & _MREMAP_FIXED:
        raise KernelError(errno.EINVAL, "mremap to a fixed address is not implemented" if flags & 2 else "")
    vma = mm.find(addr)
    if vma is None or addr + old > vma.end:
        raise KernelError(errno.EFAULT, "no mapping is there")
    if new <= old:
        if new < old:
            await _unmap(kernel, addr + new, old - new)
        return addr
    if addr + old == vma.end and not mm.overlaps(vma.end, addr + new) and addr + new <= TASK_SIZE_MAX:
        vma.end = addr + new
        return addr
    if not flags & _MREMAP_MAYMOVE:
        raise KernelError(errno.ENOMEM, "the mapping cannot grow where it is")
    return mm.move(addr, old, new)


@syscall(28)
async def sys_madvise(kernel: KernelCore, start: int, length: int, behavior: int) -> int:
    """Only MADV_DONTNEED changes what programs see."""
    if start & (PAGE_SIZE - 1) or behavior not in _MADV_KNOWN:
        raise KernelError(errno.EINVAL)
    if behavior in (_MADV_DONTNEED, _MADV_FREE) and length:
        _mm(kernel).forget_pages(start, length)
    _check_mapped(kernel, start, length)
    return 0


def _check_mapped(kernel: KernelCore, start: int, length: int) -> None:
    """ENOMEM where part of a range is not mapped."""
    end = page_align(start + length)
    inside = (min(vma.end, end) - max(vma.start, start) for vma in _mm(kernel).vmas if vma.start < end)
    if sum(size for size in inside if size > 0) != end - start:
        raise KernelError(errno.ENOMEM, "part of the range is not mapped")


@syscall(26)
async def sys_msync(kernel: KernelCore, start: int, length: int, flags: int) -> int:
    """Shared pages are the file's own: nothing to do."""
    if start & (PAGE_SIZE - 1) or flags & ~7:
        raise KernelError(errno.EINVAL)
    _check_mapped(kernel, start, length)
    return 0


@syscall(149)
async def sys_mlock(kernel: KernelCore, start: int, length: int) -> int:
    """Nothing is ever paged out."""
    first = start >> PAGE_SHIFT << PAGE_SHIFT
    if length and not _mm(kernel).overlaps(first, start + length):
        raise KernelError(errno.ENOMEM)
    return 0


@syscall(150)
async def sys_munlock(kernel: KernelCore, start: int, length: int) -> int:
    """See mlock."""
    return await sys_mlock(kernel, start, length)
