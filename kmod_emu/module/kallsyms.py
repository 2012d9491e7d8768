"""A module's symbol table: in its memory and for /proc/kallsyms (kernel/module/kallsyms.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.machine.memory import WRITE
from kmod_emu.module.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_ABS,
    SHN_UNDEF,
    SHT_NOBITS,
    STB_WEAK,
    SYM_SIZE,
)
from kmod_emu.module.errors import KernelWouldCrash

if TYPE_CHECKING:
    from kmod_emu.module.elf import Image, Symbol
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module

_STT_OBJECT = 1
_SHN_LORESERVE = 0xFF00


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


def _check_bookkeeping(info: LoadInfo, module: Module) -> None:
    """The kernel finds its own record by the region's address in `struct module`, believing it."""
    if not module.view.has("init_layout"):
        return
    base = info.kernel.memory.read_u64(module.view.addressof("init_layout"))
    place = base + info.layout.symtab.bookkeeping
    if not info.kernel.memory.mapped(place, WRITE):
        raise KernelWouldCrash(place, "the struct module in the file is too short", write=True)


def add_kallsyms(info: LoadInfo, module: Module) -> None:
    """Write the symbols with their final values into init memory, and core's share of them into core."""
    kernel, image, plan = info.kernel, info.image, info.layout.symtab
    memory, core = kernel.memory, module.regions["core"]
    _check_bookkeeping(info, module)
    letters = [elf_type(image, symbol) for symbol in image.symbols]
    table = [
        struct.pack(
            "<IBBHQQ", symbol.name_offset, symbol.info, symbol.other, symbol.shndx, value, symbol.size
        )
        for symbol, value in zip(image.symbols, info.values, strict=True)
    ]
    memory.write(image.sections[image.symtab].address, b"".join(table))
    names, rows = bytearray(), []
    for index in plan.symbols:
        rows.append(struct.pack("<I", len(names)) + table[index][4:])
        names += image.symbol_name(image.symbols[index]).encode("utf-8", "surrogateescape") + b"\0"
    memory.write(core.base + plan.symoffs, b"".join(rows))
    memory.write(core.base + plan.stroffs, bytes(names))
    memory.write(core.base + plan.typeoffs, "".join(letters[index] for index in plan.symbols).encode())
    place = module.view.addressof("core_kallsyms")
    memory.write(
        place,
        struct.pack(
            "<QIxxxxQQ",
            core.base + plan.symoffs, len(plan.symbols), core.base + plan.stroffs, core.base + plan.typeoffs,
        ),
    )  # fmt: skip
    module.view.kallsyms = place
    listed = [
        (value, letter, image.symbol_name(symbol))
        for symbol, value, letter in zip(image.symbols, info.values, letters, strict=True)
    ]
    module.symbols = listed
    module.core_symbols = [listed[index] for index in plan.symbols]
    assert len(rows) * SYM_SIZE == plan.stroffs - plan.symoffs
