"""Device memory and accesses to it, or to ports by the same names (arch/x86/mm/ioremap.c, lib/iomap.c).

A mapping is a range of vmalloc space whose pages lead to physical addresses. Behind RAM, device models answer
(`Cpu.mmio`), to `readl()` as to any other instruction; 8 bytes reach a device as two accesses of 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel import report
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.layout import RAM_SIZE
from kmod_emu.machine.memory import PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, page_align

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LOW_MEMORY = 1 << 20  # the first megabyte may be mapped: a PC's screen and firmware are there
_PHYSICAL_END = 1 << 40
_PIO_OFFSET, _PIO_END = 0x10000, 0x40000  # addresses in between are ports (lib/iomap.c)


class IoMappings:
    """The mappings: address of the first page -> (physical address, bytes)."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._areas: dict[int, tuple[int, int]] = {}
        self._shown: dict[int, int] = {}  # pages of the kernel's own: number -> physical address

    def map(self, paddr: int, size: int) -> int:
        """Map physical addresses; NULL for RAM, and for addresses that no machine has."""
        kernel = self._kernel
        last = paddr + size - 1
        if not size or last < paddr or last >= _PHYSICAL_END:
            return 0
        if paddr < max(RAM_SIZE, kernel.memory.ram_end) and last >= _LOW_MEMORY:
            text = f"ioremap on RAM at {paddr:#018x} - {last:#018x}"
            kernel.warnings.warn("arch/x86/mm/ioremap.c", 211, text, "__ioremap_caller+0x345/0x360")
            return 0
        first = paddr & PAGE_MASK
        length = page_align(last + 1 - first)
        address = kernel.vmalloc.allocate(length)
        if address:
            kernel.memory.protect(address, length, 0)
            self._areas[address] = (first, length)
            self._publish()
        return address + (paddr - first) if address else 0

    def unmap(self, address: int) -> bool:
        """Remove a mapping; False if there is none."""
        if self._areas.pop(address & PAGE_MASK, None) is None:
            return False
        self._publish()
        return self._kernel.vmalloc.free(address & PAGE_MASK)

    def show(self, page: int, paddr: int) -> None:
        """Let a page of the kernel's own lead to a device."""
        self._shown[page] = paddr
        self._publish()

    def _publish(self) -> None:
        """Tell the software MMU."""
        self._kernel.cpu.open_mmio()
        self._kernel.memory.io_pages = self._shown | {
            (address >> PAGE_SHIFT) + page: first + page * PAGE_SIZE
            for address, (first, size) in self._areas.items()
            for page in range(size >> PAGE_SHIFT)
        }
        self._kernel.memory.flush()

    def access(self, address: int, size: int, value: int | None = None) -> int:
        """Read, or write `value`, at an address of a mapping, of memory, or of ioport_map()."""
        cpu, memory = self._kernel.cpu, self._kernel.memory
        space, where = cpu.ports, address - _PIO_OFFSET
        if not _PIO_OFFSET <= address < _PIO_END:
            page = memory.io_pages.get(address >> PAGE_SHIFT)
            if page is None or page < memory.ram_end:
                return self._memory_access(address, size, value)
            space, where = cpu.mmio, page | address & (PAGE_SIZE - 1)
        if value is None:
            return space.read(where, size)
        space.write(where, size, value)
        return 0

    def _memory_access(self, address: int, size: int, value: int | None) -> int:
        memory = self._kernel.memory
        page = memory.io_pages.get(address >> PAGE_SHIFT)
        if page is not None:
            address = self._kernel.direct_address(page | address & (PAGE_SIZE - 1))
        if value is None:
            return int.from_bytes(memory.read(address, size), "little")
        memory.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
        return 0

    def save(self) -> Any:
        """State for a snapshot or file; device models are not part of it."""
        return [[address, *area] for address, area in self._areas.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        areas = {address: (first, size) for address, first, size in state}
        if areas != self._areas:
            self._areas = areas
            self._publish()


def _define_maps() -> None:
    """The kinds of mapping differ in how processors cache them."""

    def define(name: str) -> None:
        @export(f"void *{name}(resource_size_t phys_addr, unsigned long size)")
        def remap(kernel: KernelCore, phys_addr: int, size: int) -> int:
            """Map device memory (arch/x86/mm/ioremap.c)."""
            return kernel.io_mappings.map(phys_addr, size)

    for name in ("ioremap", "ioremap_wc", "ioremap_wt", "ioremap_uc", "ioremap_cache", "ioremap_encrypted"):
        define(name)

    @export("void *ioremap_prot(resource_size_t phys_addr, unsigned long size, unsigned long prot_val)")
    def ioremap_prot(kernel: KernelCore, phys_addr: int, size: int, prot_val: int) -> int:
        """Likewise."""
        return kernel.io_mappings.map(phys_addr, size)


_define_maps()


@export("void iounmap(volatile void *addr)")
def iounmap(kernel: KernelCore, addr: int) -> None:
    """Remove a mapping (arch/x86/mm/ioremap.c)."""
    if addr <= RAM_SIZE or kernel.io_mappings.unmap(addr):
        return
    kernel.printk.emit(f"iounmap: bad address {kernel.format_context.hash_pointer(addr) or 0:016x}\n", 3)
    report.dump_stack(kernel)


@export("void *ioport_map(unsigned long port, unsigned int nr)")
def ioport_map(kernel: KernelCore, port: int, nr: int) -> int:
    """An address by which ioread8() and its kin reach a port (lib/iomap.c)."""
    return port + _PIO_OFFSET if port < _PIO_OFFSET else 0


@export("void ioport_unmap(void *addr)")
def ioport_unmap(kernel: KernelCore, addr: int) -> None:
    """Nothing to undo (lib/iomap.c)."""


def _define_accesses() -> None:
    def define(bits: int, suffix: str) -> None:
        size = bits // 8

        def swap(value: int) -> int:
            raw = (value & (1 << bits) - 1).to_bytes(size, "little")
            return int.from_bytes(raw, "big" if suffix == "be" else "little")

        @export(f"unsigned int ioread{bits}{suffix}(const void *addr)")
        def ioread(kernel: KernelCore, addr: int) -> int:
            """Read a register (lib/iomap.c)."""
            return swap(kernel.io_mappings.access(addr, size))

        @export(f"void iowrite{bits}{suffix}(u32 val, void *addr)")
        def iowrite(kernel: KernelCore, val: int, addr: int) -> None:
            """Write a register (lib/iomap.c)."""
            kernel.io_mappings.access(addr, size, swap(val))

    for bits in (8, 16, 32):
        define(bits, "")
        if bits > 8:
            define(bits, "be")
        _define_repeated(bits)


def _define_repeated(bits: int) -> None:
    size = bits // 8

    @export(f"void ioread{bits}_rep(const void *addr, void *dst, unsigned long count)")
    def ioread_rep(kernel: KernelCore, addr: int, dst: int, count: int) -> None:
        """Read a register again and again (lib/iomap.c)."""
        for at in range(dst, dst + size * count, size):
            kernel.memory.write(at, kernel.io_mappings.access(addr, size).to_bytes(size, "little"))

    @export(f"void iowrite{bits}_rep(void *addr, const void *src, unsigned long count)")
    def iowrite_rep(kernel: KernelCore, addr: int, src: int, count: int) -> None:
        """Write a register again and again (lib/iomap.c)."""
        for at in range(src, src + size * count, size):
            value = int.from_bytes(kernel.memory.read(at, size), "little")
            kernel.io_mappings.access(addr, size, value)


_define_accesses()
