"""What insmod adds to an object for the kernel: __ksymtab, .kmodtab and the values of struct module."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.classic.obj import STB_GLOBAL, STB_LOCAL, Symbol
from kmod_emu.classic.structs import MODULE, REF, SYMBOL
from kmod_emu.module.elf import SHN_ABS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.classic.obj import ObjectFile, Section

_HIDDEN = ("cleanup_module", "init_module", "kernel_version")
_KSYMOOPS_SECTIONS = (".text", ".rodata", ".data", ".bss")
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})")


def ksymoops_symbols(obj: ObjectFile, name: str, path: str, mtime: float) -> list[Symbol]:
    """Symbols that tell ksymoops which file a module was, and where its sections lie."""
    match = _VERSION.match(obj.modinfo().get("kernel_version", ""))
    code = int(match[1]) << 16 | int(match[2]) << 8 | int(match[3]) if match else -1
    start = f"__insmod_{name}"
    where = f"{start}_O{path}_M{int(mtime):016X}_V{code}"
    symbols = [Symbol(where, STB_GLOBAL, 0, _this(obj).index, 0)]
    for section_name in _KSYMOOPS_SECTIONS:
        section = obj.find_section(section_name)
        if section is not None and section.size and section.allocated:
            symbols.append(
                Symbol(f"{start}_S{section_name}_L{section.size}", STB_GLOBAL, 0, section.index, 0)
            )
    return symbols


def add_references(obj: ObjectFile, used: Sequence[int]) -> None:
    """One struct module_ref for each module that is used, given by its address; the kernel links them."""
    section, this = obj.create_section(".kmodtab", 8, REF.size * len(used)), obj.find_symbol("__this_module")
    assert this is not None
    for number, address in enumerate(used):
        REF.pack_into(section.contents, REF.size * number, address, 0, 0)
        obj.patch_symbol(section, REF.size * number + 8, this)


def add_exports(obj: ObjectFile, more: Sequence[Symbol], *, export: bool) -> None:
    """Complete __ksymtab.

    Args:
        obj: The object; if it has a __ksymtab itself, that says what is exported.
        more: Symbols for ksymoops.
        export: Whether all that is global is exported where the object does not say.
    """
    for hidden in _HIDDEN:
        if (symbol := obj.symbols.get(hidden)) is not None:
            symbol.binding = STB_LOCAL
    says = obj.find_section("__ksymtab") is not None
    for symbol in more:
        obj.symbols[symbol.name] = symbol
        if says or not export:
            _add_export(obj, symbol)
    if says or not export:
        return
    for symbol in [*obj.symbols.values()]:
        inside = symbol.section == SHN_ABS or symbol.section < len(obj.sections)
        if symbol.binding == STB_LOCAL or symbol.undefined or not inside:
            continue
        if symbol.section == SHN_ABS or obj.sections[symbol.section].allocated:
            _add_export(obj, symbol)


def _add_export(obj: ObjectFile, symbol: Symbol) -> None:
    """One more entry of __ksymtab, which is made if need be."""
    table = obj.find_section("__ksymtab")
    if table is not None and not table.allocated:  # EXPORT_NO_SYMBOLS: there, so that nothing is exported
        table.name = "x_ksymtab"
        table = None
    if table is None:
        table = obj.create_section("__ksymtab", 8, 0)
    offset = table.extend(bytes(SYMBOL.size))
    obj.patch_symbol(table, offset, symbol)
    obj.patch_string(table, offset + 8, symbol.name)


def fill_struct_module(obj: ObjectFile, base: int, size: int, flags: int, used: int) -> dict[str, int]:
    """Write struct module into `.this`, when all sections have their addresses; its members."""
    values = {"size_of_struct": MODULE.size, "size": size, "flags": flags}
    table, references = obj.find_section("__ksymtab"), obj.find_section(".kmodtab")
    if table is not None and table.size and table.allocated:
        values["syms"], values["nsyms"] = table.address, table.size // SYMBOL.size
    if used and references is not None:
        values["deps"], values["ndeps"] = references.address, used
    for member, name in (("init", "init_module"), ("cleanup", "cleanup_module")):
        symbol = obj.find_symbol(name)
        values[member] = obj.final_value(symbol) if symbol is not None else 0
    handlers = obj.find_section("__ex_table")
    if handlers is not None:
        values["ex_table_start"] = handlers.address
        values["ex_table_end"] = handlers.address + handlers.size
    inits = (obj.find_section(".text.init"), obj.find_section(".data.init"))
    values["runsize"] = min((section.address - base for section in inits if section is not None), default=0)
    this = _this(obj)
    for member, value in values.items():
        place = MODULE.members[member]
        raw = (value & (1 << 64) - 1).to_bytes(8, "little")[: place.size]
        this.contents[place.offset : place.offset + place.size] = raw
    return values


def _this(obj: ObjectFile) -> Section:
    this = obj.find_section(".this")
    assert this is not None
    return this
