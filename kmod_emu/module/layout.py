"""Where each section goes (kernel/module/main.c: layout_sections; kallsyms.c: layout_symtab)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.machine.memory import EXEC, READ, WRITE, page_align
from kmod_emu.module.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_RO_AFTER_INIT,
    SHF_WRITE,
    SHN_UNDEF,
    SYM_SIZE,
)
from kmod_emu.module.memory import KINDS, TWO_REGIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
# The region of each class, where every kind of memory is one of its own; init has no such thing as read-only
# after init.
_CORE_KINDS = ("text", "rodata", "ro_after_init", "data")
_INIT_KINDS = ("init_text", "init_rodata", None, "init_data")


def align_up(size: int, align: int) -> int:
    """ALIGN() on an unsigned int, for any alignment, even one that is no power of two.

    >>> align_up(5, 4), align_up(5, 0), align_up(6, 0xFFFF_FFFF_FFFF_FFFF)
    (8, 5, 0)
    """
    mask = (align or 1) - 1 & _U32
    return (size + mask & _U32) & ~mask


class Plan:
    """Sizes of one region while sections are put into it; all sizes wrap at 32 bits, as in the kernel.

    Args:
        name: Of the region.
        size: What `struct module` in the file says the size is; the kernel counts from there.
    """

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

    def protections(self) -> list[tuple[int, int, int]]:
        """(start, end, permissions) of each part, until init has returned."""
        if self.name in KINDS:
            return [(0, self.size, KINDS[self.name])]
        return [
            (0, self.text_size, READ | EXEC),
            (self.text_size, self.ro_size, READ),
            (self.ro_size, self.size, READ | WRITE),
        ]

    def sealed(self) -> tuple[int, int]:
        """The part that is read-only once init has returned: (start, end)."""
        if self.name in KINDS:
            return (0, self.size) if self.name == "ro_after_init" else (0, 0)
        return self.ro_size, max(self.ro_after_init_size, self.ro_size)


class Placement(NamedTuple):
    """Where one section goes."""

    section: Section
    region: str
    offset: int


class SymtabPlan(NamedTuple):
    """Where symbol tables go.

    Attributes:
        symbols: Indices of those that outlive init.
        core: The region that keeps them.
        symoffs: Offset of their table in it.
        stroffs: Of their names.
        typeoffs: Of their letters.
        init: The region of the whole table.
        bookkeeping: Offset of struct mod_kallsyms in it.
    """

    symbols: Sequence[int]
    core: str
    symoffs: int
    stroffs: int
    typeoffs: int
    init: str
    bookkeeping: int


class Layout(NamedTuple):
    """The whole layout; regions in the order in which they are allocated."""

    regions: dict[str, Plan]
    placements: list[Placement]
    symtab: SymtabPlan


def lay_out(
    image: Image, names: Sequence[str] = TWO_REGIONS, sizes: Mapping[str, int] | None = None
) -> Layout:
    """Lay out a module.

    Args:
        image: A verified image; flags of sections may change.
        names: The regions that this release has.
        sizes: What `struct module` in the file says their sizes are.
    """
    plans = {name: Plan(name, (sizes or {}).get(name, 0)) for name in names}
    placements: list[Placement] = []
    by_kind = "core" not in plans
    for wants_init, kinds in ((False, _CORE_KINDS), (True, _INIT_KINDS)):
        placed: set[int] = set()
        whole = "init" if wants_init else "core"
        for kind, (must, mustnot) in enumerate(_CLASSES):
            name = kinds[kind] if by_kind else whole
            for section in image.sections:
                if section.flags & must != must or section.flags & mustnot or section.index in placed:
                    continue
                if _is_init(section) is not wants_init or name is None:
                    continue
                placed.add(section.index)
                placements.append(Placement(section, name, plans[name].place(section)))
            if not by_kind and not (wants_init and kind == _RO_AFTER_INIT):
                plans[whole].close(kind)
        if wants_init and not by_kind:
            plans[whole].ro_after_init_size = plans[whole].ro_size
    core, init = ("data", "init_data") if by_kind else TWO_REGIONS
    symtab = _lay_out_symtab(image, plans[core], plans[init], placements)
    for plan in plans.values():
        plan.size = page_align(plan.size)
    return Layout(plans, placements, symtab)


def _is_init(section: Section) -> bool:
    return section.name.startswith(".init")


def is_core_symbol(image: Image, symbol: Symbol) -> bool:
    """Whether a symbol survives init (kallsyms.c: is_core_symbol)."""
    if image.livepatch:
        return True
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
    placements[:] = (each for each in placements if each.section not in (table, strings))
    placements.append(Placement(table, init.name, init.place(table)))
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
    placements.append(Placement(strings, init.name, init.place(strings)))
    bookkeeping = (init.size + 7) & ~7
    init_typeoffs = bookkeeping + _MOD_KALLSYMS_SIZE
    init.size = page_align(init_typeoffs + len(image.symbols))
    return SymtabPlan(chosen, core.name, symoffs, stroffs, typeoffs, init.name, bookkeeping)
