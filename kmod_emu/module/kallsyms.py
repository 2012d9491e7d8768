"""A module's symbol table: in its memory and for /proc/kallsyms (kernel/module/kallsyms.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.machine.memory import WRITE, PageFault
from kmod_emu.module.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_ABS,
    SHN_UNDEF,
    SHT_NOBITS,
    STB_WEAK,
    SYM,
    SYM_SIZE,
    Symbol,
    text,
)
from kmod_emu.module.errors import KernelWouldCrash
from kmod_emu.module.memory import description

if TYPE_CHECKING:
    from kmod_emu.module.elf import Image
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module

_STT_OBJECT = 1
_SHN_LORESERVE = 0xFF00
_MASK64 = (1 << 64) - 1
_MOD_KALLSYMS = struct.Struct("<QIxxxxQQ")  # symtab, num_symtab, strtab, typetab


def elf_type(image: Image, symbol: Symbol) -> str:
    """The letter that nm would print, as the kernel computes it."""
    if symbol.binding == STB_WEAK:
        return "v" if symbol.info & 15 == _STT_OBJECT else "w"
    if symbol.shndx == SHN_UNDEF:
        return "U"
    if symbol.shndx == SHN_ABS or (image.percpu and symbol.shndx == image.percpu):
        return "a"
    if symbol.shndx >= _SHN_LORESERVE or symbol.shndx >= len(image.sections):
        return "?"
    section = image.sections[symbol.shndx]
    if section.flags & SHF_EXECINSTR:
        return "t"
    if section.flags & SHF_ALLOC and section.type != SHT_NOBITS:
        return "d" if section.flags & SHF_WRITE else "r"
    if section.type == SHT_NOBITS:
        return "b"
    return "n" if section.name.startswith(".debug") else "?"


def _bookkeeping(info: LoadInfo, module: Module) -> int:
    """Where the kernel keeps its own record: by the region's address in `struct module`, believing it."""
    plan = info.layout.symtab
    base = info.kernel.memory.read_u64(description(info.kernel.profile, module.view, plan.init).base)
    place = base + plan.bookkeeping
    if not info.kernel.memory.mapped(place, WRITE):
        raise KernelWouldCrash(place, "the struct module in the file is too short", write=True)
    return place


def write_symbols(info: LoadInfo) -> None:
    """Put the symbols with their final values into init memory, where the kernel computes them in place."""
    table = b"".join(
        SYM.pack(symbol.name_offset, symbol.info, symbol.other, symbol.shndx, value, symbol.size)
        for symbol, value in zip(info.image.symbols, info.values, strict=True)
    )
    info.kernel.memory.write(info.image.sections[info.image.symtab].address, table)


def _read_back(info: LoadInfo) -> list[Symbol]:
    """The symbols as they are in memory now: a relocation outside its section may have hit them."""
    table = info.image.sections[info.image.symtab].address
    raw = info.kernel.memory.read(table, len(info.image.symbols) * SYM_SIZE)
    return [Symbol(*fields) for fields in SYM.iter_unpack(raw)]


def _name_in_memory(info: LoadInfo, symbol: Symbol) -> str:
    """A symbol's name, followed wherever its offset leads.

    Raises:
        KernelWouldCrash: It leads out of mapped memory.
    """
    place = info.image.sections[info.image.strtab].address + symbol.name_offset & _MASK64
    try:
        return text(info.kernel.memory.read_cstring(place))
    except PageFault as fault:
        raise KernelWouldCrash(fault.address, "the name of a symbol") from None


def add_kallsyms(info: LoadInfo, module: Module) -> None:
    """Copy the symbols that outlive init into core, and learn all of them for /proc/kallsyms."""
    kernel, image, plan = info.kernel, info.image, info.layout.symtab
    memory, core = kernel.memory, module.regions[plan.core]
    place = _bookkeeping(info, module)
    symbols = _read_back(info)
    letters = [elf_type(image, symbol) for symbol in symbols]
    table, strings = (image.sections[index].address for index in (image.symtab, image.strtab))
    memory.write(place, _MOD_KALLSYMS.pack(table, len(symbols), strings, place + _MOD_KALLSYMS.size))
    memory.write(place + _MOD_KALLSYMS.size, "".join(letters).encode())
    module.view.kallsyms = place
    texts = memory.read(strings, image.sections[image.strtab].size)
    names, rows = bytearray(), []
    for index in plan.symbols:
        symbol = symbols[index]
        rows.append(SYM.pack(len(names), symbol.info, symbol.other, symbol.shndx, symbol.value, symbol.size))
        end = texts.find(0, symbol.name_offset)
        if end >= 0:
            names += texts[symbol.name_offset : end + 1]
        else:
            names += _name_in_memory(info, symbol).encode("utf-8", "surrogateescape") + b"\0"
    memory.write(core.base + plan.symoffs, b"".join(rows))
    memory.write(core.base + plan.stroffs, bytes(names))
    memory.write(core.base + plan.typeoffs, "".join(letters[index] for index in plan.symbols).encode())
    table, strings, types = (core.base + place for place in (plan.symoffs, plan.stroffs, plan.typeoffs))
    memory.write(
        module.view.addressof("core_kallsyms"), _MOD_KALLSYMS.pack(table, len(plan.symbols), strings, types)
    )
    listed = [
        (symbol.value, letter, image.symbol_name(symbol))
        for symbol, letter in zip(symbols, letters, strict=True)
    ]
    module.symbols = listed
    module.core_symbols = [listed[index] for index in plan.symbols]
    assert len(rows) * SYM_SIZE == plan.stroffs - plan.symoffs
