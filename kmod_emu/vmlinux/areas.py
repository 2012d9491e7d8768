"""`struct vm_struct` of areas, for kernel code that looks at the pages of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.layout import STRUCT_PAGE_SIZE, VMEMMAP_START
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_VM_ALLOC = 2


class Areas:
    """Descriptions that were asked for, by the area's address."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._described: dict[int, int] = {}

    def describe(self, address: int) -> int:
        """The vm_struct of the area that holds an address, 0 where there is none."""
        kernel = self._kernel
        area = kernel.vmalloc.area(address)
        if area is None:
            return 0
        start, size = area
        known = self._described.get(start)
        if known is not None and kernel.view("vm_struct", known).size != size + PAGE_SIZE:
            self.forget(start)  # that was freed, and another lies there
        if start not in self._described:
            count = size >> PAGE_SHIFT
            view = kernel.view("vm_struct", kernel.heap.kmalloc(kernel.profile.struct("vm_struct").size))
            view.addr, view.size, view.flags = start, size + PAGE_SIZE, _VM_ALLOC
            view.set("pages", kernel.heap.kmalloc(8 * count))
            view.set("nr_pages", count)
            for index in range(count):
                frame = kernel.memory.translate(start + index * PAGE_SIZE) >> PAGE_SHIFT
                kernel.memory.write_u64(
                    view.get("pages") + 8 * index, VMEMMAP_START + frame * STRUCT_PAGE_SIZE
                )
            self._described[start] = view.address
        return self._described[start]

    def forget(self, address: int) -> None:
        """The area is gone."""
        found = self._described.pop(address, None)
        if found is not None:
            self._kernel.heap.kfree(self._kernel.view("vm_struct", found).get("pages"))
            self._kernel.heap.kfree(found)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._described.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._described = dict(state)
