"""User memory of a process: anonymous mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.layout import PAGE_OFFSET, USER_MMAP_BASE
from kmod_emu.kernel.pages import MAX_ORDER
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ, WRITE, page_align
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


class UserMappings:
    """Maps and unmaps memory of one process, lowest address first, a gap behind each mapping."""

    def __init__(self, kernel: KernelCore, task: Task) -> None:
        self._kernel, self._task = kernel, task
        self._mappings: dict[int, tuple[int, list[int]]] = {}  # address -> (size, blocks of pages)

    def map(self, size: int, perms: int = READ | WRITE) -> int:
        """Address of `size` zeroed bytes.

        Raises:
            KernelError: ENOMEM.
        """
        size = page_align(max(size, 1))
        address = max(
            (start + length for start, (length, _) in self._mappings.items()), default=USER_MMAP_BASE
        )
        address += PAGE_SIZE
        blocks: list[int] = []
        space, done = self._task.space, 0
        assert space is not None
        while done < size:
            order = min(((size - done - 1) >> PAGE_SHIFT).bit_length(), MAX_ORDER)
            block = self._kernel.pages.allocate(order)
            if not block:
                for offset in range(0, done, PAGE_SIZE):
                    space.unmap(address + offset)
                self._free(blocks)
                raise KernelError(errno.ENOMEM, f"the machine has no memory left for {size} bytes")
            blocks.append(block)
            for offset in range(0, min(PAGE_SIZE << order, size - done), PAGE_SIZE):
                space.map(address + done + offset, block - PAGE_OFFSET + offset, perms)
            done += PAGE_SIZE << order
        self._mappings[address] = size, blocks
        return address

    def unmap(self, address: int) -> None:
        """Give a mapping back.

        Raises:
            KernelError: EINVAL, none starts there.
        """
        if address not in self._mappings:
            raise KernelError(errno.EINVAL, f"no mapping starts at {address:#x}")
        size, blocks = self._mappings.pop(address)
        space = self._task.space
        assert space is not None
        for offset in range(0, size, PAGE_SIZE):
            space.unmap(address + offset)
        self._free(blocks)
        self._kernel.memory.flush()

    def _free(self, blocks: list[int]) -> None:
        for block in blocks:
            self._kernel.pages.free(block)
