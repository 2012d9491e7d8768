"""Names, types and lines of everything that runs on a machine: its modules and the base kernel."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from kmod_emu.abi.typedefs import INTEGERS
from kmod_emu.debug.btf_types import BtfTypes, btf_of
from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.parser import parse_prototype
from kmod_emu.debug.dwarf.info import DebugInfo
from kmod_emu.debug.profile_types import ProfileTypes
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.debug.c.values import MemoryAccess
    from kmod_emu.debug.dwarf.info import FunctionScope
    from kmod_emu.debug.dwarf.lines import LineRange
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

__all__ = ["Program"]


class Program:
    """What debuggers ask about addresses and names.

    Debug information is read from the modules' files when it is first asked for.

    Attributes:
        memory: Guest memory; who debugs changes it in a way of its own.
        profile_types: What is known of the base kernel's structures.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self.kernel = kernel
        self.memory: MemoryAccess = kernel.memory
        self.profile_types = ProfileTypes(kernel.profile)
        self._known: dict[tuple[int, int], DebugInfo] = {}  # by struct module and contents
        self._btf: tuple[tuple[int, ...], BtfTypes | None] = ((), None)
        self._symbols: dict[tuple[int, int], tuple[list[int], list[str]]] = {}  # of the module asked for last

    # --- modules --------------------------------------------------------------------------------------

    @property
    def modules(self) -> list[Module]:
        """All modules, newest first."""
        return [module for module in self.kernel[Modules].known.values() if module.sections][::-1]

    def debug_info(self, module: Module) -> DebugInfo:
        """A module's debug information; empty if it has none."""
        key = module.address, hash(module.file)
        info = self._known.get(key)
        if info is None:
            addresses = {name: address for name, address, _ in module.sections}
            if module.percpu:
                addresses[".data..percpu"] = self.kernel.percpu.address(module.percpu)
            info = DebugInfo(module.file, addresses)
            self._known[key] = info
        return info

    def info_at(self, address: int) -> DebugInfo | None:
        """The debug information that covers an address."""
        module = self.kernel[Modules].holding(address)
        info = self.debug_info(module) if module is not None else None
        return info or None

    @property
    def infos(self) -> Iterator[DebugInfo]:
        """The debug information of all modules, newest first."""
        for module in self.modules:
            info = self.debug_info(module)
            if info:
                yield info

    # --- addresses ------------------------------------------------------------------------------------

    def scopes(self, address: int) -> list[FunctionScope]:
        """The function at an address behind the inlined ones there, innermost first."""
        info = self.info_at(address)
        return info.scopes(address) if info else []

    def beginning(self, address: int) -> list[FunctionScope]:
        """The inlined functions whose first instruction this is, innermost first."""
        scopes = self.scopes(address)
        count = 0
        while count < len(scopes) and scopes[count].is_inlined and scopes[count].entry == address:
            count += 1
        return scopes[:count]

    def line_at(self, address: int) -> LineRange | None:
        """The source line of an address."""
        info = self.info_at(address)
        return info.lines.at(address) if info else None

    def symbol(self, address: int) -> str:
        """`<name+offset>` of an address, "" if none is near."""
        found = self.locate(address)
        if found is None:
            return ""
        name, offset = found
        if ".cold" in name and (scopes := self.scopes(address)):  # the rest of a function that lies elsewhere
            name, offset = scopes[-1].name, address - scopes[-1].entry
        return f"<{name}{offset:+d}>" if offset else f"<{name}>"

    def locate(self, address: int) -> tuple[str, int] | None:
        """The symbol before an address, in the same section of a module, and how far."""
        if address == self.kernel.traps.return_address:
            return "kmod_emu_return", 0  # where functions return to that Python has called
        module = self.kernel[Modules].holding(address)
        if module is None:
            location = self.kernel.symbols.locate(address)
            if location is not None:
                return location.name, location.offset
            absent = self.kernel.symbols.absent(address)
            return (absent, address - self.kernel.symbols.address(absent)) if absent is not None else None
        section = next((s for s in module.sections if s[1] <= address < s[1] + s[2]), None)
        if section is None:
            return None
        starts, names = self._sorted_symbols(module)
        index = bisect_right(starts, address) - 1
        if index < 0 or starts[index] < section[1]:
            return None
        return names[index], address - starts[index]

    def _sorted_symbols(self, module: Module) -> tuple[list[int], list[str]]:
        """A module's symbols in order of their addresses: the first of each one's, as kallsyms takes it."""
        key = module.address, len(module.symbols)
        if key not in self._symbols:
            by_address: dict[int, str] = {}
            for address, letter, name in module.symbols:
                if name and letter not in "uUaA" and not name.startswith((".L", "$")):
                    by_address.setdefault(address, name)
            starts = sorted(by_address)
            self._symbols = {key: (starts, [by_address[start] for start in starts])}
        return self._symbols[key]

    def function_bounds(self, address: int) -> tuple[str, int, int] | None:
        """Name, start and end of the function at an address."""
        scopes = self.scopes(address)
        if scopes:
            function = scopes[-1]
            for start, end in function.ranges:
                if start <= address < end:
                    return function.name, start, end
        location = self.kernel.locate(address)
        if location is None:
            return None
        start = address - location.offset
        return location.name, start, start + location.size

    def section_of(self, address: int) -> str:
        """The section of a module that an address is in, "" for none."""
        module = self.kernel[Modules].holding(address)
        for name, start, size in module.sections if module is not None else ():
            if start <= address < start + size:
                return name
        return ""

    # --- names ----------------------------------------------------------------------------------------

    def type_named(self, key: str) -> c.CType | None:
        """A type by "struct file" or "size_t": as a module defines it, else as the profile knows it."""
        declared = None
        for info in self.infos:
            found = info.type_named(key)
            if found is not None and not (isinstance(found, c.Aggregate) and not found.complete):
                return found
            declared = declared or found
        return self._btf_named(key) or self.profile_types.named(key) or declared

    def _btf_named(self, key: str) -> c.CType | None:
        types = self._btf_types()
        return types.named(key) if types is not None else None

    def _btf_types(self) -> BtfTypes | None:
        """The types of modules that have BTF only, and of a kernel that has; None if there are none."""
        modules = [m for m in self.modules if m.file and not self.debug_info(m)]
        tables = [table for module in modules if (table := btf_of(module.file))]
        key = tuple(map(hash, tables))
        if key != self._btf[0] or self._btf[1] is None:
            wanted = tables or self.kernel.types is not None
            self._btf = key, BtfTypes(self.kernel, tables) if wanted else None
        return self._btf[1]

    def prototype(self, name: str) -> tuple[c.Function, list[str]] | None:
        """Type and parameters' names of a function without DWARF: by BTF, or as the profile knows exports."""
        text = self.kernel.profile.prototype(name) if name in self.kernel.profile.exports else None
        if text is None:
            types = self._btf_types()
            text = types.prototype(name) if types is not None else None
        return parse_prototype(text, self._mentioned) if text else None

    def _mentioned(self, key: str) -> c.CType | None:
        """A type in a prototype; structures need not be known."""
        found = self.type_named(key)
        keyword, _, tag = key.partition(" ")
        if found is not None:
            return found
        if tag:
            return c.Enum(tag, 4, {}, signed=False) if keyword == "enum" else c.Aggregate(keyword, tag, None)
        size, signed = INTEGERS.get(key, (0, False))
        return c.Typedef(key, c.Integer(key, size, signed=signed)) if size else None

    def address_of(self, name: str) -> int | None:
        """A symbol's address: of a module, newest first, or of the base kernel."""
        for module in self.modules:
            for address, letter, symbol in module.symbols:
                if symbol == name and letter not in "uU":
                    return address
        symbols = self.kernel.symbols
        if symbols.placed(name) or symbols.internal(name) or symbols.exports(name):
            return symbols.address(name)
        return None

    def is_code(self, address: int) -> bool:
        """Whether a symbol's address is of a function."""
        from kmod_emu.machine.memory import EXEC

        return self.kernel.memory.mapped(address, EXEC) or self.kernel.symbols.absent(address) is not None

    def symbol_names(self) -> Iterator[str]:
        """All symbols of modules, then those of the base kernel that are there."""
        for module in self.modules:
            yield from (name for _, letter, name in module.symbols if name and letter not in "uU")
        yield from (name for name, _ in self.kernel.symbols.functions())
