"""Watched bytes, by the software MMU: only accesses to the pages that they are on cost anything.

The permissions of such a page are held back, so that an access faults; the instruction is then run alone with
the page open, and the bytes are looked at. What Python writes for the guest (memcpy(), copy_from_user()) is
found when the trap has been handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import PAGE_SIZE, READ, WRITE, Access, PageFault
from kmod_emu.machine.operands import memory_operands

if TYPE_CHECKING:
    from kmod_emu.debug.place import WatchedRange
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.machine.cpu import Stop

_LONGEST_INSTRUCTION = 15


class Change(NamedTuple):
    """Watched bytes were touched.

    Attributes:
        ranges: Which ones; they may overlap.
        old: The bytes of the first before.
        new: And after.
        by: The instruction that did it; 0 if Python did.
    """

    ranges: tuple[WatchedRange, ...]
    old: bytes
    new: bytes
    by: int


class Watching:
    """Guards pages.

    Attributes:
        changed: Python changed watched bytes, and nobody has taken notice yet.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._old: dict[WatchedRange, bytes] = {}
        self._pages: dict[int, int] = {}
        self.changed: Change | None = None

    def watch(self, ranges: tuple[WatchedRange, ...]) -> None:
        """Watch these, and no others."""
        self.changed = None
        self._pages = {}
        for watched in ranges:
            held = WRITE if watched.kind in ("change", "write") else READ | WRITE
            end = watched.address + watched.size
            for page in range(watched.address & -PAGE_SIZE, end, PAGE_SIZE):
                try:
                    paddr = self._kernel.memory.translate(page)
                except PageFault:  # nothing is mapped there now
                    continue
                self._pages[paddr] = self._pages.get(paddr, 0) | held
        self._old = {watched: self._read(watched) for watched in ranges}

    @property
    def on(self) -> bool:
        """Whether pages are guarded now."""
        return bool(self._kernel.memory.guarded)

    @on.setter
    def on(self, on: bool) -> None:
        if self._pages and on is not self.on:
            self._kernel.memory.guarded = self._pages if on else {}
            self._kernel.memory.flush()

    def refresh(self) -> None:
        """What the bytes are now is what they were before."""
        self.changed = None
        self._old = {watched: self._read(watched) for watched in self._old}

    def guards(self, stop: Stop) -> bool:
        """Whether a stop is an access to a guarded page."""
        return stop.fault is not None and stop.fault.guarded

    def step(self, stop: Stop) -> tuple[Stop, Change | None]:
        """Run the instruction that was kept from a page, alone."""
        assert stop.fault is not None
        memory, cpu = self._kernel.memory, self._kernel.cpu
        operands: list[tuple[int, int]] = []
        if any(watched.kind != "change" for watched in self._old):
            registers = cpu.registers() | {"gs": self._kernel.percpu.base}
            operands = memory_operands(self._code(stop.rip), stop.rip, registers)
        guarded, memory.guarded = memory.guarded, {}
        memory.flush()
        done = cpu.run(stop.rip, 1)
        memory.guarded = guarded
        memory.flush()
        if done.reason is not StopReason.COUNT:
            return done, None
        return done, self._look(stop.rip, stop.fault.access, operands)

    def compare(self) -> None:
        """Python may have written."""
        if self.changed is None and self._old:
            self.changed = self._look(0, Access.WRITE, [])

    def take(self) -> Change | None:
        """What `compare` found, once."""
        changed, self.changed = self.changed, None
        return changed

    def _look(self, by: int, access: Access, operands: list[tuple[int, int]]) -> Change | None:
        touched: list[tuple[WatchedRange, bytes, bytes]] = []
        for watched, old in self._old.items():
            new = self._read(watched)
            self._old[watched] = new
            overlaps = any(
                address < watched.address + watched.size and watched.address < address + size
                for address, size in operands
            )
            by_access = {
                "change": False,
                "write": access is Access.WRITE,
                "read": access is Access.READ,
                "access": True,
            }
            if (new != old and watched.kind != "read") or (overlaps and by_access[watched.kind]):
                touched.append((watched, old, new))
        if not touched:
            return None
        return Change(tuple(item[0] for item in touched), touched[0][1], touched[0][2], by)

    def _read(self, watched: WatchedRange) -> bytes:
        try:
            return self._kernel.memory.read(watched.address, watched.size)
        except PageFault:
            return b""

    def _code(self, rip: int) -> bytes:
        memory = self._kernel.memory
        for size in (_LONGEST_INSTRUCTION, PAGE_SIZE - rip % PAGE_SIZE):
            try:
                return memory.read(rip, min(size, _LONGEST_INSTRUCTION))
            except PageFault:
                continue
        return b""
