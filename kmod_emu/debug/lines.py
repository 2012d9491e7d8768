"""Source lines of addresses in modules, from the DWARF line programs in their files."""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

_SHF_EXECINSTR, _SHT_SYMTAB, _STT_SECTION = 4, 2, 3
_SECTION_SHIFT = 32  # where a section's number stands in the addresses that the tables below use


class LineTable:
    """The line programs of one module file.

    Sections of a module file all begin at 0; here each executable one begins at its number << 32.
    """

    def __init__(self, image: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        patched, self.sections = _give_sections_addresses(image)
        elf = ELFFile(io.BytesIO(patched))
        rows: list[tuple[int, str, int]] = []
        if elf.has_dwarf_info():
            dwarf = elf.get_dwarf_info(relocate_dwarf_sections=True)
            for unit in dwarf.iter_CUs():
                rows += _rows(dwarf, unit)
        rows.sort(key=lambda row: row[0])
        self._rows = rows
        self._starts = [row[0] for row in rows]

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


def _give_sections_addresses(image: bytes) -> tuple[bytes, dict[str, int]]:
    """The file with other values in the symbols of its executable sections; the sections' numbers."""
    from elftools.elf.elffile import ELFFile

    elf, patched, numbers = ELFFile(io.BytesIO(image)), bytearray(image), {}
    for number, section in enumerate(elf.iter_sections()):
        if section["sh_flags"] & _SHF_EXECINSTR:
            numbers[section.name] = number
    for section in elf.iter_sections():
        if section["sh_type"] != "SHT_SYMTAB":
            continue
        for place in range(section["sh_offset"], section["sh_offset"] + section["sh_size"], 24):
            info, _, index = struct.unpack_from("<BBH", image, place + 4)
            if info & 15 == _STT_SECTION and index in numbers.values():
                struct.pack_into("<Q", patched, place + 8, index << _SECTION_SHIFT)
    return bytes(patched), numbers


def _rows(dwarf: Any, unit: Any) -> list[tuple[int, str, int]]:
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return []
    files, base = program["file_entry"], 0 if program["version"] >= 5 else 1
    folders = program["include_directory"]
    rows = []
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if state.end_sequence:
            rows.append((state.address, "", 0))
            continue
        index = state.file - base
        known = files[index] if 0 <= index < len(files) else None
        name = known.name.decode("utf-8", "replace") if known is not None else "?"
        if known is not None and (where := known.dir_index - base) >= 0 and where < len(folders) and where:
            name = f"{folders[where].decode('utf-8', 'replace')}/{name}"
        rows.append((state.address, name, state.line))
    return rows


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
            try:
                return _table(module.file).line(name, address - start)
            except Exception:  # damaged debug information is no reason to fail
                return None
    return None
