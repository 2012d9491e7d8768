"""Each relocation of a module that is being loaded: the bytes before and after, and the sum between them."""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module import elf
from kmod_emu.module.relocate import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module

_RELA = struct.Struct("<QIIq")
_MASK64 = (1 << 64) - 1


class Applied(NamedTuple):
    """One relocation.

    Attributes:
        section: What it patches.
        offset: Where in it.
        place: The same as an address: P.
        kind: The type's name.
        formula: How the value is computed.
        symbol: The name, or the section, that it refers to.
        value: Its value: S.
        addend: A.
        before: The bytes in the file.
        after: The bytes in memory.
    """

    section: str
    offset: int
    place: int
    kind: str
    formula: str
    symbol: str
    value: int
    addend: int
    before: bytes
    after: bytes


def relocations(kernel: KernelCore, module: Module, limit: int | None = None) -> Iterator[Applied]:
    """Those of sections in memory, in the order in which they were applied.

    To be called when they have just been applied: later steps patch code again.
    """
    return islice(_relocations(kernel, module), limit)


def _relocations(kernel: KernelCore, module: Module) -> Iterator[Applied]:
    blob = module.file
    header = elf.Header.read(blob)
    sections = elf.read_sections(blob, header)
    image = elf.Image(blob, header.type, header.machine, sections, header.shstrndx)
    placed = {name: address for name, address, _ in module.sections}
    for section in sections:
        if section.type != elf.SHT_RELA or section.info >= len(sections):
            continue
        target = sections[section.info]
        start = placed.get(target.name)
        if start is None or not target.allocated:
            continue
        if image.symtab != section.link:
            image.symtab, image.strtab = section.link, sections[section.link].link
            image.load_symbols()
        for offset, number, index, addend in _RELA.iter_unpack(image.contents(section)):
            kind = KINDS[number]
            place = start + offset
            after = kernel.memory.read(place, kind.size)
            value = int.from_bytes(after, "little", signed=kind.minimum != 0 and kind.size == 4)
            value = value - addend + (place if kind.relative else 0)
            before = image.contents(target)[offset : offset + kind.size].ljust(kind.size, b"\0")
            yield Applied(
                section=target.name,
                offset=offset,
                place=place,
                kind=kind.name,
                formula=kind.formula,
                symbol=_symbol_name(image, index),
                value=value & _MASK64,
                addend=addend,
                before=before,
                after=after,
            )


def _symbol_name(image: elf.Image, index: int) -> str:
    symbol = image.symbols[index]
    return image.symbol_name(symbol) or (
        image.sections[symbol.shndx].name if symbol.shndx < len(image.sections) else ""
    )
