"""User memory of a process as Python asks for it: buffers for system calls, each with a gap around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.machine.memory import PAGE_SIZE, READ, WRITE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.mm import MemoryMap
    from kmod_emu.kernel.tasks import Task


class UserMappings:
    """Maps and unmaps memory of one process, lowest address first, a gap behind each mapping."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def _mm(self) -> MemoryMap:
        assert self._task.mm is not None
        return self._task.mm

    def map(self, size: int, perms: int = READ | WRITE) -> int:
        """Address of `size` zeroed bytes.

        Raises:
            KernelError: ENOMEM.
        """
        size = max(size, 1)
        address = self._mm.map(size, perms, gap=PAGE_SIZE)
        if not self._mm.populate(address, size):
            self._mm.unmap(address, size)
            raise KernelError(errno.ENOMEM, f"the machine has no memory left for {size} bytes")
        return address

    def unmap(self, address: int) -> None:
        """Give a mapping back.

        Raises:
            KernelError: EINVAL, none starts there.
        """
        vma = self._mm.find(address)
        if vma is None or vma.start != address:
            raise KernelError(errno.EINVAL, f"no mapping starts at {address:#x}")
        self._mm.unmap(address, vma.end - address)
