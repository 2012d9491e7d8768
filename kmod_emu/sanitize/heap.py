"""Errors with heap objects: writes behind them, freeing twice; with guards also the access itself.

Memory is zeroed when it is allocated, so that what is not zero behind an object when it is freed was written
by somebody who went too far. Guards put each object of a module's at the end of pages of its own, in front of
a page that is not there, and take the pages away when it is freed: then the processor stops at the access.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.layout import PAGE_OFFSET
from kmod_emu.kernel.pages import MAX_ORDER
from kmod_emu.kernel.slab import RED
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, READ, WRITE, Access
from kmod_emu.sanitize.ledger import stack_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.sanitize.ledger import Ledger, Piece
    from kmod_emu.sanitize.sites import Stack

_REMEMBERED = 8192  # objects that were freed, of which it is known who did that
_AWAY = 1024  # objects freed last whose pages nobody gets yet
_MOST_PAGES = 16 << 20 >> PAGE_SHIFT  # that objects with pages of their own may have
_CHUNK = 5  # blocks are made ready so many at once, as a power of two
_ROW, _ROWS = 16, 6  # bytes shown around a place
_THERE = bytes((READ | WRITE,))
_LINE = 8
_FILL = 8e-6  # seconds that it takes the machine to look up a page of which it knows nothing


class Guards:
    """Objects with pages of their own.

    These lie in blocks of 2^order pages, the last of which are never there. A block is used again when many
    others have been freed after it; pages that nobody has are not there, and no translation is left of them.

    Attributes:
        wanted: Whether the object being allocated gets some.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._ram = kernel.memory.arena_of(PAGE_OFFSET)
        self.wanted = False
        self._objects: dict[
            int, tuple[int, int]
        ] = {}  # block -> the object that it has or had, and its order
        self._blocks: dict[int, tuple[int, int]] = {}  # object -> its block, and how many pages it has
        self._away: deque[int] = deque()  # objects freed
        self._spare: dict[int, list[int]] = {}  # order -> blocks
        self._uncovered: set[int] = set()  # blocks with pages that are there all the same
        self._pages = 0

    def allocate(self, size: int) -> int:
        """Address of `size` zeroed bytes in front of a page that is not there; 0 if it gets none."""
        if not self.wanted:
            return 0
        pages = -(-size // PAGE_SIZE)
        order = pages.bit_length()  # one page more than the object has, at least
        spare = self._spare.get(order)
        if not spare and not (spare := self._make(order)):
            return 0
        block = spare.pop()
        end = block + (pages << PAGE_SHIFT)
        address = end - size & -(size if size & size - 1 == 0 and size >= _LINE else _LINE)
        self._blocks[address] = block, pages
        self._objects[block] = address, order
        first = block - PAGE_OFFSET >> PAGE_SHIFT
        self._ram.perms[first : first + pages] = _THERE * pages
        before = RED[: address - block]
        contents = before + bytes(size) + RED[: end - address - size]
        self._kernel.memory.write(address - len(before), contents)
        self._kernel.cpu.watchdog.forgive(_FILL)
        return address

    def _make(self, order: int) -> list[int]:
        """Blocks of pages that are not there; none if too many pages went into these."""
        kernel = self._kernel
        for chunk in (order + _CHUNK, order):
            if self._pages + (1 << chunk) > _MOST_PAGES or not (first := kernel.pages.allocate(chunk)):
                continue
            self._pages += 1 << chunk
            kernel.memory.protect(first, PAGE_SIZE << chunk, 0)
            blocks = range(first, first + (PAGE_SIZE << chunk), PAGE_SIZE << order)
            self._spare[order] = list(reversed(blocks))
            return self._spare[order]
        return []

    def free(self, address: int) -> bool:
        """Take an object's pages away; False if it has none of its own."""
        found = self._blocks.get(address)
        if found is None:
            return False
        block, pages = found
        first = block - PAGE_OFFSET >> PAGE_SHIFT
        self._ram.perms[first : first + pages] = bytes(pages)
        self._kernel.traps.forget_pages(block, pages << PAGE_SHIFT)
        self._away.append(address)
        if len(self._away) > _AWAY:
            block, pages = self._blocks.pop(self._away.popleft())
            order = pages.bit_length()
            if block in self._uncovered:
                self._uncovered.remove(block)
                self._kernel.memory.protect(block, PAGE_SIZE << order, 0)
            self._spare[order].append(block)
        return True

    def end(self, address: int) -> int:
        """Where the pages of an object end; 0 if it has none of its own."""
        found = self._blocks.get(address)
        return found[0] + (found[1] << PAGE_SHIFT) if found else 0

    def start(self, address: int) -> int:
        """Where the pages of an object begin; 0 if it has none of its own."""
        return self._blocks.get(address, (0, 0))[0]

    def object_at(self, address: int) -> int:
        """The object, in use or freed, whose block an address is in; 0 for none."""
        for order in range(MAX_ORDER + 1):
            found = self._objects.get(address & -(PAGE_SIZE << order))
            if found is not None and found[1] == order:
                return found[0]
        return 0

    def uncover(self, address: int) -> None:
        """Let code go on at an address: its page is there from now on, until its block is used again."""
        self._uncovered.add(self._blocks[self.object_at(address)][0])
        self._kernel.memory.protect(address & -PAGE_SIZE, PAGE_SIZE, READ | WRITE)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "blocks": [[address, *place] for address, place in self._blocks.items()],
            "objects": [[block, *found] for block, found in self._objects.items()],
            "uncovered": sorted(self._uncovered),
            "away": list(self._away),
            "spare": [[order, list(blocks)] for order, blocks in self._spare.items()],
            "pages": self._pages,
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._blocks = {address: (block, pages) for address, block, pages in state["blocks"]}
        self._objects = {block: (address, order) for block, address, order in state["objects"]}
        self._uncovered = set(state["uncovered"])
        self._away = deque(state["away"])
        self._spare = {order: list(blocks) for order, blocks in state["spare"]}
        self._pages = state["pages"]


class HeapChecker:
    """What is wrong with heap objects of modules."""

    def __init__(self, kernel: KernelCore, ledger: Ledger, *, guarded: bool) -> None:
        self._kernel, self._ledger = kernel, ledger
        self._heap, self._ram = kernel.heap, kernel.memory.arena_of(PAGE_OFFSET).raw
        self._freed: dict[int, tuple[Piece, Stack, int]] = {}  # object -> who made it, who freed it, its size
        self._earlier: dict[int, tuple[Piece, Stack, int]] = {}  # those before them
        self.guards = Guards(kernel) if guarded else None
        kernel.heap.red = True
        kernel.heap.freeing = self._freeing()
        kernel.heap.guards = self.guards
        kernel.faults.freed_before = self._freed_before
        if guarded:
            ledger.guards = self.guards
            kernel.faults.go_on = self._accessed

    def _freeing(self) -> Callable[[int, Piece, int], None]:
        """What is called when an object of a module's is about to be freed: a closure, as this is often."""
        ram, check, heap, sites = self._ram, self.check, self._heap, self._ledger.sites
        plain, owner, special = heap.plain, heap.owner, self.guards is not None
        stack = sites.stack if special else sites.caller
        freed = self._freed

        def freeing(address: int, piece: Piece, size: int) -> None:
            callers = stack()
            behind = plain.get(size)
            end = address + size - PAGE_OFFSET
            if special or not behind or address in owner or ram[end : end + len(behind)] != behind:
                check(address, piece[1], size, callers)
            if len(freed) > _REMEMBERED:
                self._earlier = dict(freed)
                freed.clear()
            freed[address] = piece, callers, size

        return freeing

    def check(self, address: int, allocation: Stack, size: int, free: Stack = ()) -> None:
        """Look around an object for what was written there; without `free`, it is left behind."""
        start = address - PAGE_OFFSET
        end = start + size
        if (zone := self._heap.behind(address, size)) and self._ram[end : end + len(zone)] != zone:
            self._overwritten("behind the end", address, end, zone, allocation, size, free)
        zone = self._heap.before(address)
        if zone and self._ram[start - len(zone) : start] != zone:
            self._overwritten("in front", address, start - len(zone), zone, allocation, size, free)

    def _overwritten(
        self, where: str, address: int, start: int, zone: bytes, allocation: Stack, size: int, free: Stack
    ) -> None:
        """What is around an object is not what it was."""
        changed = [place for place, byte in enumerate(zone, start) if self._ram[place] != byte]
        offset, count = changed[0] + PAGE_OFFSET - address, changed[-1] - changed[0] + 1
        place = self._ledger.sites.place
        found = f"freed at {place(free[0])}" if free else "left behind"
        self._note(
            "heap overflow" if where == "behind the end" else "heap underflow",
            f"{count} byte{'s' if count > 1 else ''} {where} of a heap object of {size} bytes"
            f" {'were' if count > 1 else 'was'} overwritten, at offset {offset};"
            f" {place(allocation[0])} allocates it, and it was {found}: look for an index or length that"
            " leaves it",
            self._rows(address, changed[0], changed[-1] + 1),
            allocation=allocation,
            free=free,
        )

    def _rows(self, address: int, start: int, end: int) -> list[str]:
        """Bytes around some of an object's, which stand in brackets; by their offset in it."""
        here = address - PAGE_OFFSET
        first = here + ((start - here) // _ROW - 1) * _ROW
        rows = []
        for row in range(first, min(end + _ROW, first + _ROWS * _ROW), _ROW):
            shown = "".join(
                f"{'[' if place == start else ' ' if place != end else ''}{byte:02x}"
                f"{']' if place == end - 1 else ''}"
                for place, byte in enumerate(self._ram[row : row + _ROW], row)
            )
            rows.append(f"{row - here:+5d} {shown}")
        return rows

    def _note(self, kind: str, text: str, rows: list[str], **stacks: Stack) -> None:
        self._kernel.findings.note(kind, text, self._shown(**stacks), rows)

    def _shown(self, **stacks: Stack) -> dict[str, list[str]]:
        show = self._ledger.sites.show
        return {what: [show(site) for site in stack] for what, stack in stacks.items() if stack}

    def _freed_before(self, address: int) -> tuple[str, dict[str, list[str]]] | None:
        """What is known of an address that is freed though nothing is there."""
        sites = self._ledger.sites
        freed = self._freed.get(address) or self._earlier.get(address)
        if freed is None:
            return None
        ((_, allocation, _), free, size), stack = freed, sites.stack()
        text = f"the heap object of {size} bytes from {sites.place(allocation[0])}"
        if free:
            text += f", freed at {sites.place(free[0])} (set the pointer to NULL there),"
        text += f" is freed again{f' at {sites.place(stack[0])}' if stack else ''}"
        return text, self._shown(access=stack, allocation=allocation, free=free)

    def _accessed(self, address: int, access: Access, rip: int) -> bool:
        """Whether a page that was taken away was touched: it is told, and code may go on."""
        guards, kernel = self.guards, self._kernel
        place = guards.object_at(address) if guards else 0
        if guards is None or not place or access is Access.FETCH:
            return False
        sites = self._ledger.sites
        here = (*((sites.at(rip),) if rip else ()), *sites.callers())
        does = f"{sites.place(here[0]) if here else 'the kernel'}"
        does += " reads" if access is Access.READ else " writes"
        piece, offset = kernel.allocations.get(place), address - place
        rows = self._rows(place, address - PAGE_OFFSET, address + 1 - PAGE_OFFSET)
        if piece is not None:
            size, allocation = kernel.heap.live.get(place, 0), piece[1]
            text = f"{does} behind the end of a heap object of {size} bytes, at offset {offset};"
            text += f" {sites.place(allocation[0])} allocates it: look for an index or length that leaves it"
            self._note("heap overflow", text, rows, access=here, allocation=allocation)
        elif freed := self._freed.get(place) or self._earlier.get(place):
            (_, allocation, _), free, size = freed
            text = f"{does} at offset {offset} of a heap object of {size} bytes that was freed"
            text += f" at {sites.place(free[0])}" if free else ""
            text += ": use it before, or free it later"
            self._note("use after free", text, rows, access=here, allocation=allocation, free=free)
        else:
            return False
        guards.uncover(address)
        return True

    def save(self) -> Any:
        """State for a snapshot or file."""
        freed = [[address, *item] for address, item in (self._earlier | self._freed).items()]
        return {"freed": freed, "guards": self.guards.save() if self.guards else None}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._freed.clear()
        self._earlier.clear()
        for address, (kind, allocation, serial), free, size in state["freed"]:
            self._freed[address] = (kind, stack_from(allocation), serial), stack_from(free), size
        if self.guards is not None and state["guards"] is not None:
            self.guards.load(state["guards"])
