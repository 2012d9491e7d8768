"""Where each section goes (kernel/module/main.c: layout_sections; kallsyms.c: layout_symtab)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.machine.memory import page_align
from kmod_emu.module.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_RO_AFTER_INIT,
    SHF_WRITE,
    SHN_UNDEF,
    SYM_SIZE,
)

if TYPE_CHECKING:
    from kmod_emu.module.elf import Image, Section, Symbol

_U32 = 0xFFFF_FFFF
_MOD_KALLSYMS_SIZE = 32

# Classes in the order in which they are laid out: (flags that must be set, flags that must be clear).
_CLASSES = (
    (SHF_EXECINSTR | SHF_ALLOC, 0),
    (SHF_ALLOC, SHF_WRITE),
    (SHF_RO_AFTER_INIT | SHF_ALLOC, 0),
    (SHF_WRITE | SHF_ALLOC, 0),
)
_TEXT, _RODATA, _RO_AFTER_INIT = 0, 1, 2


def align_up(size: int, align: int) -> int:
    """ALIGN() on an unsigned int, for any alignment, even one that is no power of two.

    >>> align_up(5, 4), align_up(5, 0), align_up(6, 0xFFFF_FFFF_FFFF_FFFF)
    (8, 5, 0)
    """
    mask = (align or 1) - 1 & _U32
    return (size + mask & _U32) & ~mask


class Plan:
    """Sizes of one region while sections are put into it; all sizes wrap at 32 bits, as in the kernel."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.text_size = self.ro_size = self.ro_after_init_size = 0

    def place(self, section: Section) -> int:
        """Offset for a section: aligned behind what is there (get_offset)."""
        offset = align_up(self.size, section.align)
        self.size = (offset + section.size) & _U32
        return offset

    def close(self, kind: int) -> None:
        """Round up behind a class of sections."""
        self.size = page_align(self.size) & _U32
        if kind == _TEXT:
            self.text_size = self.size
        elif kind == _RODATA:
            self.ro_size = self.size
        elif kind == _RO_AFTER_INIT:
            self.ro_after_init_size = self.size


class Placement(NamedTuple):
    """Where one section goes."""

    section: Section
    region: str
    offset: int


class SymtabPlan(NamedTuple):
    """Where symbol tables go: which symbols core keeps and where, and struct mod_kallsyms in init."""

    symbols: list[int]
    symoffs: int
    stroffs: int
    typeoffs: int
    bookkeeping: int


class Layout(NamedTuple):
    """The whole layout."""

    regions: dict[str, Plan]
    placements: list[Placement]
    symtab: SymtabPlan


def _is_init(section: Section) -> bool:
    return section.name.startswith(".init")


def lay_out(image: Image, sizes: tuple[int, int] = (0, 0)) -> Layout:
    """Lay out core and init as two contiguous regions.

    Args:
        image: A verified image; flags of sections may change.
        sizes: What `struct module` in the file says the sizes are; the kernel counts from there.
    """
    core, init = Plan("core", sizes[0]), Plan("init", sizes[1])
    placements: list[Placement] = []
    for plan, wants_init in ((core, False), (init, True)):
        placed: set[int] = set()
        for kind, (must, mustnot) in enumerate(_CLASSES):
            for section in image.sections:
                if section.flags & must != must or section.flags & mustnot or section.index in placed:
                    continue
                if _is_init(section) is not wants_init:
                    continue
                placed.add(section.index)
                placements.append(Placement(section, plan.name, plan.place(section)))
            if not (wants_init and kind == _RO_AFTER_INIT):
                plan.close(kind)
        if wants_init:
            plan.ro_after_init_size = plan.ro_size
    symtab = _lay_out_symtab(image, core, init, placements)
    return Layout({"core": core, "init": init}, placements, symtab)


def is_core_symbol(image: Image, symbol: Symbol) -> bool:
    """Whether a symbol survives init (kallsyms.c: is_core_symbol)."""
    if symbol.shndx == SHN_UNDEF or symbol.shndx >= len(image.sections) or not symbol.name_offset:
        return False
    if symbol.shndx == image.percpu and image.percpu:
        return True
    section = image.sections[symbol.shndx]
    return bool(section.flags & SHF_ALLOC) and not _is_init(section)


def _lay_out_symtab(image: Image, core: Plan, init: Plan, placements: list[Placement]) -> SymtabPlan:
    """The full table goes to the end of init, the core symbols' part to the end of core."""
    table, strings = image.sections[image.symtab], image.sections[image.strtab]
    table.flags |= SHF_ALLOC
    placements.append(Placement(table, "init", init.place(table)))
    chosen = [
        index for index, symbol in enumerate(image.symbols) if index == 0 or is_core_symbol(image, symbol)
    ]
    symoffs = align_up(core.size, table.align)
    stroffs = symoffs + len(chosen) * SYM_SIZE
    names = sum(
        len(image.symbol_name(image.symbols[index]).encode("utf-8", "surrogateescape")) + 1
        for index in chosen
    )
    typeoffs = stroffs + names
    core.size = page_align(typeoffs + len(chosen))
    strings.flags |= SHF_ALLOC
    placements.append(Placement(strings, "init", init.place(strings)))
    bookkeeping = (init.size + 7) & ~7
    init_typeoffs = bookkeeping + _MOD_KALLSYMS_SIZE
    init.size = page_align(init_typeoffs + len(image.symbols))
    return SymtabPlan(chosen, symoffs, stroffs, typeoffs, bookkeeping)
