"""Errors with heap objects: writes behind them, freeing twice; with guards also the access itself.

Memory is zeroed when it is allocated, so that what is not zero behind an object when it is freed was written
by somebody who went too far. Guards put each object of a module's at the end of pages of its own, in front of
a page that is not there, and take the pages away when it is freed: then the processor stops at the access.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ, WRITE, Access
from kmod_emu.sanitize.ledger import record_from
from kmod_emu.sanitize.sites import Site

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.sanitize.ledger import Ledger, Record

_REMEMBERED = 4096  # objects freed last, of which it is known who freed them
_AWAY = 1024  # blocks of objects freed last, which nobody gets yet
_SHOWN = 16  # bytes behind an object
_LINE = 8


class Freed(NamedTuple):
    """An object that was freed."""

    record: Record
    stack: tuple[Site, ...]
    size: int


class Guards:
    """Objects with pages of their own.

    Attributes:
        wanted: Whether the object being allocated gets some.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.wanted = False
        self._blocks: dict[
            int, tuple[int, int]
        ] = {}  # object -> its block, and how many pages of it are there
        self._away: deque[tuple[int, int]] = deque()  # (block, object) of those freed

    def allocate(self, size: int) -> int:
        """Address of `size` zeroed bytes in front of a page that is not there; 0 if it gets none."""
        if not self.wanted:
            return 0
        pages = -(-size // PAGE_SIZE)
        block = self._kernel.pages.allocate(pages.bit_length())  # one more than the object has
        if not block:
            return 0
        order = pages.bit_length()
        end = block + (pages << PAGE_SHIFT)
        self._kernel.memory.protect(end, block + (PAGE_SIZE << order) - end, 0)
        address = end - size & -(size if size & size - 1 == 0 and size >= _LINE else _LINE)
        self._blocks[address] = block, pages
        return address

    def free(self, address: int) -> bool:
        """Take an object's pages away; False if it has none of its own."""
        found = self._blocks.pop(address, None)
        if found is None:
            return False
        block, pages = found
        self._kernel.memory.protect(block, pages << PAGE_SHIFT, 0)
        self._away.append((block, address))
        if len(self._away) > _AWAY:
            self._give_back(self._away.popleft()[0])
        return True

    def _give_back(self, block: int) -> None:
        _, order = self._kernel.pages.block_of(block) or (block, 0)
        self._kernel.memory.protect(block, PAGE_SIZE << order, READ | WRITE)
        self._kernel.pages.free(block)

    def end(self, address: int) -> int:
        """Where the pages of an object end; 0 if it has none of its own."""
        found = self._blocks.get(address)
        return found[0] + (found[1] << PAGE_SHIFT) if found else 0

    def object_at(self, address: int) -> int:
        """The object, in use or freed, whose block an address is in; 0 for none."""
        block, _ = self._kernel.pages.block_of(address) or (0, 0)
        if not block:
            return 0
        for place, (first, _) in self._blocks.items():
            if first == block:
                return place
        return next((place for first, place in self._away if first == block), 0)

    def uncover(self, address: int) -> None:
        """Let code go on at an address: its page is there from now on."""
        self._kernel.memory.protect(address & -PAGE_SIZE, PAGE_SIZE, READ | WRITE)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[[a, *place] for a, place in self._blocks.items()], [list(pair) for pair in self._away]]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._blocks = {address: (block, pages) for address, block, pages in state[0]}
        self._away = deque((block, address) for block, address in state[1])


class HeapChecker:
    """What is wrong with heap objects of modules."""

    def __init__(self, kernel: KernelCore, ledger: Ledger, *, guarded: bool) -> None:
        self._kernel, self._ledger = kernel, ledger
        self._freed: dict[int, Freed] = {}
        self.guards = Guards(kernel) if guarded else None
        kernel.heap.freeing = self.freeing
        kernel.heap.guards = self.guards
        kernel.faults.freed_before = self._freed_before
        if guarded:
            ledger.guards = self.guards
            kernel.faults.go_on = self._accessed

    def freeing(self, address: int, record: Record) -> None:
        """An object of a module's is about to be freed."""
        stack = self._ledger.stack()
        self.check(address, record, stack)
        self._freed.pop(address, None)  # to come last
        self._freed[address] = Freed(record, stack, self._kernel.heap.live.get(address, 0))
        if len(self._freed) > 2 * _REMEMBERED:
            self._freed = dict(list(self._freed.items())[-_REMEMBERED:])

    def check(self, address: int, record: Record, stack: tuple[Site, ...] = ()) -> None:
        """Look behind an object for what was written there."""
        heap = self._kernel.heap
        size = heap.live.get(address, 0)
        end = self.guards.end(address) if self.guards else 0
        room = (end or address + heap.ksize(address)) - (address + size)
        if not size or room <= 0 or room > PAGE_SIZE:
            return
        behind = self._kernel.memory.read(address + size, room)
        if not any(behind):
            return
        written = len(behind.rstrip(b"\0"))
        sites = self._ledger.sites
        first = len(behind) - len(behind.lstrip(b"\0"))
        text = (
            f"somebody wrote behind a heap object of {size} bytes from {sites.place(record.stack[0])}:"
            f" {written - first} bytes at offset {size + first}, found when it was freed"
        )
        if not stack:
            text = text.replace("freed", "left behind")
        text += f"; they are {behind[first:written][:_SHOWN].hex(' ')}"
        self._note("heap overflow", text, allocation=record.stack, free=stack)

    def _note(self, kind: str, text: str, **stacks: tuple[Site, ...]) -> None:
        show = self._ledger.sites.show
        told = {what: [show(site) for site in stack] for what, stack in stacks.items() if stack}
        self._kernel.findings.note(kind, text, told)

    def _freed_before(self, address: int) -> tuple[str, dict[str, list[str]]] | None:
        """What is known of an address that is freed though nothing is there."""
        freed, sites = self._freed.get(address), self._ledger.sites
        if freed is None:
            return None
        stack = self._ledger.stack()
        text = f"the heap object of {freed.size} bytes from {sites.place(freed.record.stack[0])}"
        if freed.stack:
            text += f", freed at {sites.place(freed.stack[0])},"
        text += f" is freed again{f' at {sites.place(stack[0])}' if stack else ''}"
        stacks = {"access": stack, "allocation": freed.record.stack, "free": freed.stack}
        return text, {what: [sites.show(site) for site in sites_ if site] for what, sites_ in stacks.items()}

    def _accessed(self, address: int, access: Access, rip: int) -> bool:
        """Whether a page that was taken away was touched: it is told, and code may go on."""
        guards, kernel = self.guards, self._kernel
        place = guards.object_at(address) if guards else 0
        if guards is None or not place or access is Access.FETCH:
            return False
        sites = self._ledger.sites
        here = (*((sites.at(rip),) if rip else ()), *sites.callers())
        where = sites.place(here[0]) if here else "the kernel"
        does = "reads" if access is Access.READ else "writes"
        record = kernel.allocations.get(place)
        if record is not None:
            size = kernel.heap.live.get(place, 0)
            text = f"{where} {does} {address - place - size} bytes behind the end of a heap object of {size}"
            text += f" bytes from {sites.place(record.stack[0])}"
            self._note("heap overflow", text, access=here, allocation=record.stack)
        elif (freed := self._freed.get(place)) is not None:
            text = f"{where} {does} a heap object of {freed.size} bytes, at offset {address - place},"
            text += " that was freed"
            if freed.stack:
                text += f" at {sites.place(freed.stack[0])}"
            self._note("use after free", text, access=here, allocation=freed.record.stack, free=freed.stack)
        else:
            return False
        guards.uncover(address)
        return True

    def save(self) -> Any:
        """State for a snapshot or file."""
        freed = [[address, *map(list, item[:2]), item.size] for address, item in self._freed.items()]
        return {"freed": freed, "guards": self.guards.save() if self.guards else None}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._freed = {
            address: Freed(record_from(record), tuple(Site(*site) for site in stack), size)
            for address, record, stack, size in state["freed"]
        }
        if self.guards is not None and state["guards"] is not None:
            self.guards.load(state["guards"])
