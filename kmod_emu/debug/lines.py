"""Source lines of addresses in modules, from the DWARF line programs in their files."""

from __future__ import annotations

import io
from bisect import bisect_right
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from kmod_emu.abi.dwarf import units
from kmod_emu.debug.dwarf.lines import rows_of
from kmod_emu.debug.dwarf.relocate import relocate_debug_sections
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

_SHF_EXECINSTR = 4
_SECTION_SHIFT = 32  # where a section's number stands in the addresses that the tables below use


class LineTable:
    """The line programs of one module file; a damaged one has fewer lines, or none.

    Sections of a module file all begin at 0; here each executable one begins at its number << 32.
    """

    def __init__(self, image: bytes) -> None:
        self.sections: dict[str, int] = {}
        self._rows: list[tuple[int, str, int]] = []
        with suppress(Exception):  # whatever pyelftools meets in a damaged file
            self._read(image)
        self._rows.sort(key=lambda row: row[0])
        self._starts = [row[0] for row in self._rows]

    def _read(self, image: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        self.sections = {
            section.name: number
            for number, section in enumerate(ELFFile(io.BytesIO(image)).iter_sections())
            if section["sh_flags"] & _SHF_EXECINSTR
        }
        places = {name: number << _SECTION_SHIFT for name, number in self.sections.items()}
        elf = ELFFile(io.BytesIO(relocate_debug_sections(image, places)))
        if elf.has_dwarf_info():
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
            for unit in units(dwarf):
                self._rows += [(row.address, row.file, row.line) for row in rows_of(dwarf, unit)]

    def rows(self) -> Iterator[tuple[str, int, str, int]]:
        """(section, offset, file, line) of every place where a line's code begins."""
        names = {number: name for name, number in self.sections.items()}
        for address, file, line in self._rows:
            section = names.get(address >> _SECTION_SHIFT)
            if section is not None and line:
                yield section, address & (1 << _SECTION_SHIFT) - 1, file, line

    def line(self, section: str, offset: int) -> str | None:
        """`file:line` of an offset in a section, None where nothing is known."""
        number = self.sections.get(section)
        if number is None:
            return None
        address = number << _SECTION_SHIFT | offset
        index = bisect_right(self._starts, address) - 1
        if index < 0 or self._starts[index] >> _SECTION_SHIFT != number:
            return None
        _, name, line = self._rows[index]
        return f"{name}:{line}" if line else None


@lru_cache(maxsize=4)
def _table(image: bytes) -> LineTable:
    return LineTable(image)


def source_line(kernel: KernelCore, address: int) -> str | None:
    """`file:line` of an address in a module whose file is at hand and has debug information."""
    module = kernel[Modules].holding(address)
    if module is None or not module.file:
        return None
    for name, start, size in module.sections:
        if start <= address < start + size:
            return _table(module.file).line(name, address - start)
    return None
