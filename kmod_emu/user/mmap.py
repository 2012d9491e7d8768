"""Mapping files: regular ones, and devices, whose driver says what is seen (mm/mmap.c: mmap_region)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.mm import PROT_WRITE, MemoryMap
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFREG

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore


async def map_file(
    kernel: KernelCore,
    mm: MemoryMap,
    file: File,
    at: int | None,
    size: int,
    prot: int,
    offset: int,
    *,
    shared: bool,
) -> int:
    """Address of a new mapping of a file.

    Raises:
        KernelError: EACCES, ENODEV, and what a driver's mmap says.
    """
    if not file.readable or (shared and prot & PROT_WRITE and not file.writable):
        raise KernelError(errno.EACCES, "the descriptor is not open for that")
    data = getattr(file.inode, "data", None)
    if file.inode.is_type(S_IFREG) and data is not None:
        image = kernel.user_pages.image(bytes(data))
        return mm.map(
            size, prot, at=at, shared=shared, image=image, offset=offset >> 12, name=file.dentry.path
        )
    if not file.op.can(file, "mmap"):
        raise KernelError(errno.ENODEV, f"{file.dentry.path} has no mmap method")
    raise KernelError(errno.ENODEV, "mapping devices is not implemented")
