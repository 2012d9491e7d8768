"""Modules that the kernel's own code has loaded: all that is known of them is in its memory."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.machine.memory import PageFault
from kmod_emu.module.memory import description, region_names
from kmod_emu.module.modules import Module, Modules, Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.symbols import Location

_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_MOST = 1 << 20  # symbols of a module


class OwnModules(Modules):
    """The guest's list, read anew whenever somebody asks."""

    def __iter__(self) -> Iterator[Module]:
        """Modules on the list, newest first."""
        offset = self._kernel.profile.offset("module", "list")
        known, self.known = self.known, {}
        with suppress(lists.ListCorruption, PageFault):
            for entry in lists.walk(self._kernel.memory, self.head):
                module = known.get(entry - offset) or Module(self._kernel, entry - offset)
                self._read(module)
                self.known[module.address] = module
        for module in self.known.values():
            module.users = [other for other in map(self.known.get, self._users(module)) if other is not None]
        return iter(list(self.known.values()))

    def holding(self, address: int) -> Module | None:
        """The module whose memory holds an address."""
        return next((module for module in self if module.holds(address)), None)

    def locate(self, address: int) -> Location | None:
        """Symbol of an address in module memory."""
        module = self.holding(address)
        if module is None:
            return None
        with suppress(PageFault):
            module.symbols = list(self._symbols(module))
        return super().locate(address)

    def lookup_name(self, wanted: str) -> int | None:
        """Address of a symbol `name` or `module:name`."""
        for module in self:
            with suppress(PageFault):
                module.symbols = list(self._symbols(module))
        return super().lookup_name(wanted)

    def _read(self, module: Module) -> None:
        kernel, memory = self._kernel, self._kernel.memory
        module.regions = {}
        for name in region_names(kernel.profile):
            place = description(kernel.profile, module.view, name)
            base, size = memory.read_u64(place.base), memory.read_u32(place.size)
            if base and size:
                has_more = kernel.profile.has("module_layout.text_size")
                text_size = memory.read_u32(place.size + 4) if has_more else 0
                module.regions[name] = Region(name, base, size, text_size, base, base)

    def _users(self, module: Module) -> list[int]:
        """Addresses of the modules that import from one."""
        kernel, offset = self._kernel, self._kernel.profile.offset("module_use", "source_list")
        head = module.view.addressof("source_list")
        found: list[int] = []
        with suppress(lists.ListCorruption, PageFault):
            found += (
                kernel.view("module_use", entry - offset).source for entry in lists.walk(kernel.memory, head)
            )
        return found

    def _symbols(self, module: Module) -> Iterator[tuple[int, str, str]]:
        """Its symbol table: that of init too, while that is there."""
        memory, table = self._kernel.memory, module.view.get("kallsyms")
        if not table:
            return
        view = self._kernel.view("mod_kallsyms", table)
        count = min(view.num_symtab, _MOST)
        letters = memory.read(view.typetab, count)
        rows = _SYMBOL.iter_unpack(memory.read(view.symtab, count * _SYMBOL.size))
        for letter, (name, _, _, _, value, _) in zip(letters, rows, strict=True):
            yield value, chr(letter), memory.read_text(view.strtab + name)
