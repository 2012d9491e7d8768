"""Pages that lie anywhere, shown at addresses one behind the other (mm/vmalloc.c: vmap)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.kernel.vmalloc import wild_area
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


class Vmaps:
    """The mappings: address of the first page -> physical address of each."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._areas: dict[int, list[int]] = {}

    def map(self, pages: list[int]) -> int:
        """Show pages, given by their struct page; 0 if there is no room."""
        kernel = self._kernel
        address = kernel.vmalloc.allocate(len(pages) * PAGE_SIZE)
        if address:
            kernel.memory.protect(address, len(pages) * PAGE_SIZE, 0)  # what is there is not what is shown
            self._areas[address] = [kernel.memory.translate(page_to_virt(page)) for page in pages]
            self._publish()
        return address

    def unmap(self, address: int) -> bool:
        """Remove a mapping; False if none starts there."""
        if self._areas.pop(address, None) is None:
            return False
        self._publish()
        return self._kernel.vmalloc.free(address)

    def _publish(self) -> None:
        self._kernel.memory.aliases = {
            (address >> PAGE_SHIFT) + number: paddr
            for address, pages in self._areas.items()
            for number, paddr in enumerate(pages)
        }
        self._kernel.memory.flush()

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[address, list(pages)] for address, pages in self._areas.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        areas = {address: list(pages) for address, pages in state}
        if areas != self._areas:
            self._areas = areas
            self._publish()


@export(
    "void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)",
    Fidelity.APPROXIMATE,
)
def vmap(kernel: KernelCore, pages: int, count: int, flags: int, prot: int) -> int:
    """Show pages in one piece (mm/vmalloc.c); they can be written, whatever `prot` says."""
    return kernel.vmaps.map([kernel.memory.read_u64(pages + 8 * number) for number in range(count)])


@export("void *vm_map_ram(struct page **pages, unsigned int count, int node)")
def vm_map_ram(kernel: KernelCore, pages: int, count: int, node: int) -> int:
    """vmap() for a short time (mm/vmalloc.c)."""
    return vmap(kernel, pages, count, 0, 0)


@export("void vunmap(const void *addr)")
def vunmap(kernel: KernelCore, addr: int) -> None:
    """Show them no longer (mm/vmalloc.c)."""
    if addr and not kernel.vmaps.unmap(addr):
        wild_area(kernel, addr)


@export("void vm_unmap_ram(const void *mem, unsigned int count)")
def vm_unmap_ram(kernel: KernelCore, mem: int, count: int) -> None:
    """vunmap() of what vm_map_ram() gave (mm/vmalloc.c)."""
    vunmap(kernel, mem)
