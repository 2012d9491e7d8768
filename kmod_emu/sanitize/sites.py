"""Places in modules that calls came from, kept so that they can be told when the code is gone."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.layout import MODULES_SIZE
from kmod_emu.kernel.unwind import callers
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from kmod_emu.debug.dwarf.info import DebugInfo
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module


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


class Sites:
    """The sites of modules that are loaded, each made once."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._start, self._end = kernel.modules_start, kernel.modules_start + MODULES_SIZE
        self.known: dict[int, Site] = {}  # by return address

    def caller(self, *, direct: bool = False) -> Site | None:
        """Who in a module made the call that is being handled; None if no module is above it.

        Args:
            direct: Not if guest code of the base kernel lies between.
        """
        kernel = self._kernel
        address = kernel.memory.read_u64(kernel.traps.stack_pointer)
        if address == kernel.traps.return_address and self._start <= kernel.sched.called < self._end:
            return self.at(kernel.sched.called)  # a function that ends in a jump
        if not self._start <= address < self._end:
            return None if direct else next(iter(self.stack()), None)
        return self.known.get(address) or self._make(address)

    def stack(self) -> tuple[Site, ...]:
        """Who in modules is above the call that is being handled, innermost first."""
        called = self._kernel.sched.called
        found = self.callers()
        return (self.at(called),) if not found and self._start <= called < self._end else found

    def callers(self) -> tuple[Site, ...]:
        """The modules' part of the call trace."""
        addresses = (address for _, address in callers(self._kernel, self._kernel.sched.current))
        inside = (address for address in addresses if self._start <= address < self._end)
        return tuple(self.known.get(address) or self._make(address) for address in inside)

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
            self.known[address] = site
        return site

    def forget(self, base: int, size: int) -> None:
        """Code is gone: others may come to its addresses."""
        for address in [address for address in self.known if base <= address <= base + size]:
            del self.known[address]

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
