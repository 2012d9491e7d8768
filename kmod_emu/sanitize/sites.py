"""Places in modules that calls came from, kept so that they can be told when the code is gone."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.layout import MODULES_SIZE, VMALLOC_START
from kmod_emu.kernel.unwind import callers
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_emu.debug.dwarf.info import DebugInfo
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module


_WORD = 8
_MOST_WALKS = 4096
_SECTION_SHIFT = 32  # where a section's number stands in addresses that do not depend on where a module was


@lru_cache(maxsize=4)
def _debug_info(image: bytes, places: tuple[tuple[str, int], ...]) -> DebugInfo:
    from kmod_emu.debug.dwarf.info import DebugInfo

    return DebugInfo(image, dict(places))


class Site(NamedTuple):
    """The return address of a call.

    Attributes:
        text: As call traces have it: "symbol+0x1/0x20 [module]".
        module: Whose code it is in, "" for the base kernel's.
        section: Of the module's file.
        offset: Of the call in the section.
    """

    text: str
    module: str
    section: str
    offset: int


Stack = tuple[Site, ...]  # innermost first


class _Known(NamedTuple):
    """A walk of the stack that need not be done again while the words that it went by are the same.

    Attributes:
        offset: Of the first of these words in the arena of stacks.
        words: How to read them, and what was there.
        stack: What the walk found.
    """

    offset: int
    read: Callable[[memoryview, int], tuple[int, ...]]
    words: tuple[int, ...]
    stack: Stack


class Sites:
    """The sites of modules that are loaded, and the stacks of the calls that they make, each made once.

    Attributes:
        stack: Says who in modules is above the call that is being handled, innermost first. Most were seen
            before, and then it takes half a microsecond.
        caller: The same in half that time, where a module makes the call itself: only who.
        caches: What others know by return addresses of modules; emptied when code goes.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel, self._sched = kernel, kernel.sched
        self._start, self._end = kernel.modules_start, kernel.modules_start + MODULES_SIZE
        self._stacks = kernel.memory.arena_of(VMALLOC_START)
        self._words = self._stacks.view
        self._known: dict[int, Site] = {}  # by return address
        self._walks: dict[tuple[int, int], _Known] = {}  # by RSP and return address
        self._callers: dict[int, Stack] = {}  # by return address
        self.caches: list[dict[int, Any]] = [self._known, self._callers]
        self.stack = self._stack_function()
        self.caller = self._caller_function()

    def _stack_function(self) -> Callable[[], Stack]:
        """Make `stack`: a closure, since it is called most often of all."""
        sched, traps = self._kernel.sched, self._kernel.traps
        words, known, call, walk, callers = self._words, self._walks.get, traps.call, self._walk, self.callers

        def stack() -> Stack:
            if not sched.in_guest:
                return callers()
            place = call()
            found = known(place)
            if found is not None:
                offset, read, expected, stack = found
                if read(words, offset) == expected:
                    return stack
            return walk(place)

        return stack

    def _caller_function(self) -> Callable[[], Stack]:
        """Make `caller`, likewise."""
        sched, call, known, first = self._kernel.sched, self._kernel.traps.call, self._callers, self._caller

        def caller() -> Stack:
            return (known.get(call()[1]) if sched.in_guest else None) or first()

        return caller

    def _caller(self) -> Stack:
        """Who makes the call, for the first time; the whole stack if the base kernel does, for a module."""
        address = self._kernel.traps.call()[1]
        if not self._kernel.sched.in_guest or not self._start <= address < self._end:
            return self.stack()
        stack = self._callers[address] = self._inside((address,))
        return stack

    @property
    def direct(self) -> bool:
        """Whether a module itself makes the call that is being handled, not the base kernel's code for it."""
        _, address = self._kernel.traps.call()
        if address == self._kernel.traps.return_address:
            address = self._sched.called  # it ends in a jump
        return self._start <= address < self._end

    def _walk(self, place: tuple[int, int]) -> Stack:
        """Who is above the call at an RSP that returns to an address; it is kept for the next time."""
        slots = callers(self._kernel, self._sched.current)
        stack = self._inside(address for _, address in slots)
        if not stack and self._start <= self._sched.called < self._end:
            return (self.at(self._sched.called),)  # a function that ends in a jump
        offsets = [slot - self._stacks.base for slot, _ in slots]
        inside = offsets and offsets[0] >= 0 and offsets[-1] < self._stacks.size
        if inside and offsets == sorted(offsets) and place[1] != self._kernel.traps.return_address:
            gaps = (there - here - _WORD for here, there in pairwise(offsets))
            read = struct.Struct("<Q" + "".join(f"{gap}xQ" for gap in gaps)).unpack_from
            if len(self._walks) >= _MOST_WALKS:
                self._walks.clear()
            self._walks[place] = _Known(offsets[0], read, read(self._words, offsets[0]), stack)
        return stack

    def callers(self) -> Stack:
        """The modules' part of the call trace."""
        return self._inside(address for _, address in callers(self._kernel, self._sched.current))

    def _inside(self, addresses: Iterable[int]) -> Stack:
        inside = (address for address in addresses if self._start <= address < self._end)
        return tuple(self._known.get(address) or self._make(address) for address in inside)

    def at(self, address: int) -> Site:
        """The site of an instruction, which is no return address."""
        return self._make(address + 1, text=self._kernel.describe(address), keep=False)

    def _make(self, address: int, *, text: str = "", keep: bool = True) -> Site:
        kernel = self._kernel
        module = kernel[Modules].holding(address)
        section, offset = "", 0
        if module is not None:
            for name, start, size in module.sections:
                if start < address <= start + size:
                    section, offset = name, address - 1 - start
        site = Site(text or kernel.describe(address), module.name if module else "", section, offset)
        if keep:
            self._known[address] = site
        return site

    def forget(self, base: int, size: int) -> None:
        """Code is gone: others may come to its addresses."""
        self.clear()

    def clear(self) -> None:
        """Nothing is known any more: another machine was loaded."""
        self._walks.clear()
        for cache in self.caches:
            cache.clear()

    def line(self, site: Site, module: Module | None = None) -> str | None:
        """`file:line` of a site, where the module's file is at hand."""
        module = module or self._kernel[Modules].find(site.module, even_unformed=True)
        if module is None or not module.file or not site.section:
            return None
        from kmod_emu.debug.declarations import line_from

        places = {name: number << _SECTION_SHIFT for number, (name, _, _) in enumerate(module.sections, 1)}
        return line_from(_debug_info(module.file, tuple(places.items())), places[site.section] + site.offset)

    def place(self, site: Site, module: Module | None = None) -> str:
        """The line of a site, for a sentence; where it is not known, the symbol."""
        return self.line(site, module) or site.text

    def show(self, site: Site, module: Module | None = None) -> str:
        """A site with its line, where that is known."""
        line = self.line(site, module)
        return f"{site.text} ({line})" if line else site.text
