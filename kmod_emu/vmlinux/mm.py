"""User memory of the real kernel: its own page tables, which the software MMU walks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel import layout
from kmod_emu.kernel.mm import PROT_READ, PROT_WRITE, MemoryMap
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, Access, AddressSpace

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.tasks import VmlinuxTask

_PRESENT, _RW, _USER, _ACCESSED, _DIRTY, _LARGE, _NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
_ENTRY = struct.Struct("<Q")
_FRAME = 0x000F_FFFF_FFFF_F000
_LEVELS = (39, 30, 21, 12)
_INDEX = 511
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_POPULATE = 2, 0x20, 0x8000


class PageTables(AddressSpace):
    """The user half of an mm's page tables, with the bits for accessed and dirty that a processor sets.

    Args:
        kernel: The machine.
        pgd: Address of the first table.
    """

    def __init__(self, kernel: KernelCore, pgd: int) -> None:
        super().__init__()
        self._memory = kernel.memory
        self._ram = kernel.memory.arena_of(layout.PAGE_OFFSET).raw
        self.pgd = pgd

    def find(self, address: int, access: Access) -> tuple[int, int] | None:
        """The page at `address`, None where the tables have none for ring 3."""
        ram, table, allowed = self._ram, self.pgd - layout.PAGE_OFFSET, _RW | _USER
        execute = True
        for shift in _LEVELS:
            place = table + (address >> shift & _INDEX) * 8
            if place >= layout.RAM_SIZE:  # somebody has written over the tables
                return None
            (entry,) = _ENTRY.unpack_from(ram, place)
            if not entry & _PRESENT:
                return None
            allowed &= entry
            execute = execute and not entry & _NX
            if shift == _LEVELS[-1] or entry & _LARGE:
                break
            table = entry & _FRAME
        if not allowed & _USER:
            return None
        writes = access is Access.WRITE and allowed & _RW
        marks = entry | _ACCESSED | (_DIRTY if writes else 0)
        if marks != entry:
            self._memory.write_u64(layout.PAGE_OFFSET + place, marks)
        # A page that is written to for the first time comes here again, to become dirty.
        perms = READ | (EXEC if execute else 0) | (WRITE if allowed & _RW and marks & _DIRTY else 0)
        frame = entry & _FRAME & -(1 << shift)
        return frame + (address & ((1 << shift) - 1) & -PAGE_SIZE), perms


class VmlinuxMemory(MemoryMap):
    """A process's memory, which is the kernel's business; Python asks for some by its vm_mmap().

    Args:
        task: Whose it is.
        mm: Address of its mm_struct.
    """

    def __init__(self, task: VmlinuxTask, mm: int) -> None:
        kernel = task.kernel
        super().__init__(kernel)
        self._task = task
        self.address = mm
        self.space = PageTables(kernel, kernel.memory.read_u64(mm + kernel.pgd_offset))

    def map(self, size: int, prot: int, *, at: int | None = None, gap: int = 0, **kind: Any) -> int:
        """Map anonymous memory, with its pages in it; the address.

        Raises:
            KernelError: ENOMEM.
        """
        kernel = self._kernel
        work = kernel.call_guest(
            kernel.symbol("vm_mmap"), 0, at or 0, size, prot | PROT_READ | PROT_WRITE,
            _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_POPULATE, 0,
        )  # fmt: skip
        return int(kernel.sched.run(self._task, work))

    def populate(self, start: int, size: int) -> bool:
        """They are there if there is memory."""
        return all(self.space.find(page, Access.WRITE) for page in range(start, start + size, PAGE_SIZE))

    def unmap(self, start: int, size: int) -> list[Any]:
        """Give it back."""
        kernel = self._kernel
        kernel.sched.run(self._task, kernel.call_guest(kernel.symbol("vm_munmap"), start, size))
        return []

    def save(self) -> Any:
        """It is all in guest memory."""
        return {}

    def load(self, state: Any) -> None:
        """Nothing: see above."""
