"""The per-CPU area of the machine's one processor (mm/percpu.c, arch/x86/kernel/setup_percpu.c).

The release's per-CPU symbols keep the values they have in the real kernel, since modules address them as
`%gs:symbol`. Behind them come 8 KiB reserved for modules' own variables, then dynamic allocations. Where
the kernel's per-CPU section is not zero-based, symbols and pointers are ordinary kernel addresses and the
base of GS is what leads from there to the area.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.symbols import Origin

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

MODULE_RESERVE = 8 << 10  # PERCPU_MODULE_RESERVE
DYNAMIC_SPACE = 256 << 10
CANARY_OFFSET = 40  # where the compiler looks for it, unless the kernel exports a symbol for it
CANARY = 0x6A09_E667_F3BC_C900  # any constant with a zero low byte, as the kernel's
PREEMPT_ENABLED = 0x8000_0000  # no preemption wanted: the bit is inverted


# The kernel's own per-CPU variables that this machine keeps up to date; others are not implemented.
MAINTAINED = (
    "current_task",
    "__preempt_count",
    "cpu_number",
    "numa_node",
    "this_cpu_off",
    "fixed_percpu_data",
    "pcpu_hot",
    "const_pcpu_hot",
    "const_current_task",
    "__ref_stack_chk_guard",
)
# Variables that later kernels keep in one structure for the cache's sake: its members.
_HOT = {
    "current_task": "current_task",
    "__preempt_count": "preempt_count",
    "cpu_number": "cpu_number",
    "hardirq_stack_ptr": "hardirq_stack_ptr",
}
_MASK64 = (1 << 64) - 1


class PerCpu:
    """Offsets in the per-CPU area, and where it is.

    Attributes:
        base: What GS holds: `base` + offset, modulo 2**64, is a variable's address on the one CPU.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._offsets: dict[str, int | None] = {}
        static = kernel.profile.static_percpu_size
        self.size = static + MODULE_RESERVE + DYNAMIC_SPACE
        order = ((self.size - 1) >> 12).bit_length()
        self._start = kernel.profile.static_percpu_start
        self.base = kernel.pages.allocate(order) - self._start & _MASK64
        self._reserved_start = self._start + static
        self._dynamic_start = self._reserved_start + MODULE_RESERVE
        self._used: dict[int, int] = {}  # offset -> size, ascending
        kernel.cpu.set_gs_base(self.base)
        for name in MAINTAINED:
            offset = self.offset(name)
            if offset is not None:
                kernel.symbols.place(name, offset, Origin.DATA)
        canary = self.offset("__ref_stack_chk_guard")
        kernel.memory.write_u64(self.address(CANARY_OFFSET if canary is None else canary), CANARY)
        self.write("this_cpu_off", self.base, 8)
        self.write("__preempt_count", PREEMPT_ENABLED, 4)
        self.write("cpu_number", 0, 4)

    def offset(self, symbol: str) -> int | None:
        """Offset of one of the kernel's per-CPU variables, or None where the release has no such variable."""
        if symbol not in self._offsets:
            self._offsets[symbol] = self._find(symbol)
        return self._offsets[symbol]

    def _find(self, symbol: str) -> int | None:
        profile = self._kernel.profile
        known, symbols = profile.exports.get(symbol), self._kernel.symbols
        if known is not None or symbols.internal(symbol):
            offset = known.value if known is not None else symbols.address(symbol)
            return offset if self._start <= offset < self._reserved_start else None
        if symbol in _HOT and profile.has(f"pcpu_hot.{_HOT[symbol]}"):
            return profile.exports["pcpu_hot"].value + profile.offset("pcpu_hot", _HOT[symbol])
        return None

    def address(self, offset: int) -> int:
        """Where a variable is on the one CPU."""
        return self.base + offset & _MASK64

    def write(self, symbol: str, value: int, size: int) -> None:
        """Set one of the kernel's own per-CPU variables, if the release has it."""
        offset = self.offset(symbol)
        if offset is not None:
            self._kernel.memory.write(self.address(offset), value.to_bytes(size, "little"))

    def read(self, symbol: str, size: int) -> int:
        """Value of one of the kernel's own per-CPU variables; 0 where the release has no such symbol."""
        offset = self.offset(symbol)
        if offset is None:
            return 0
        return int.from_bytes(self._kernel.memory.read(self.address(offset), size), "little")

    def allocate(self, size: int, align: int, *, reserved: bool = False) -> int:
        """Offset of `size` zeroed bytes, or 0; `reserved` takes them from the modules' share."""
        start, end = (
            (self._reserved_start, self._dynamic_start)
            if reserved
            else (self._dynamic_start, self._start + self.size)
        )
        offset = (start + align - 1) & -align
        for used, length in self._used.items():
            if used >= end or used + length <= start:
                continue
            if offset + size <= used:
                break
            offset = (used + length + align - 1) & -align
        if offset + size > end:
            return 0
        self._used = dict(sorted([*self._used.items(), (offset, max(size, 1))]))
        self._kernel.memory.clear(self.address(offset), size)
        return offset

    def free(self, offset: int) -> bool:
        """Give an allocation back; False if there is none."""
        return self._used.pop(offset, None) is not None

    @property
    def allocated(self) -> int:
        """Bytes in use."""
        return sum(self._used.values())

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self._used.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._used = dict(state)


@export_data("unsigned long __per_cpu_offset[]", 64 * 8)
def __per_cpu_offset(kernel: KernelCore, address: int) -> None:
    """Where each possible CPU's area is (arch/x86/kernel/setup_percpu.c)."""
    kernel.memory.write_u64(address, kernel.percpu.base)


@export("void __percpu *__alloc_percpu(size_t size, size_t align)")
def __alloc_percpu(kernel: KernelCore, size: int, align: int) -> int:
    """Allocate a per-CPU variable (mm/percpu.c)."""
    return kernel.percpu.allocate(size, max(align, 8))


@export("void __percpu *__alloc_percpu_gfp(size_t size, size_t align, gfp_t gfp)")
def __alloc_percpu_gfp(kernel: KernelCore, size: int, align: int, gfp: int) -> int:
    """Allocate a per-CPU variable (mm/percpu.c)."""
    return kernel.percpu.allocate(size, max(align, 8))


@export("void free_percpu(void __percpu *ptr)")
def free_percpu(kernel: KernelCore, ptr: int) -> None:
    """Free a per-CPU variable (mm/percpu.c)."""
    if ptr and not kernel.percpu.free(ptr):
        kernel.oopses.bad_free("free_percpu", ptr)
