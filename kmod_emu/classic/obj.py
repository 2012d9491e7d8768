"""Object files as insmod of modutils holds them while it links: sections, symbols, patches (modutils' obj/).

A section's contents stay apart from its place until the module's address is known. Nothing of a file is
believed: what does not add up is an error with insmod's words.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.errors import ToolError
from kmod_emu.module.elf import (
    EHDR_SIZE,
    EM_X86_64,
    ET_REL,
    SHDR_SIZE,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHN_UNDEF,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_NULL,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    SYM,
    SYM_SIZE,
    Header,
    cstring,
    parse_modinfo,
    read_sections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.module import elf

STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_OBJECT, STT_SECTION, STT_FILE = 1, 3, 4
EXTERNAL = 0x1_0000  # SHN_HIRESERVE + 1: the kernel; the modules follow
_SHN_LORESERVE = 0xFF00
_MASK64 = (1 << 64) - 1
_X86_64_UNWIND = 0x7000_0001
_LARGEST = 1 << 28  # bytes of a section that is not in the file: more than there is room for modules
_RELA = struct.Struct("<QIIq")
_KNOWN_TYPES = {
    SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_NOTE, _X86_64_UNWIND,
}  # fmt: skip


class Section:
    """One section.

    Attributes:
        address: Its place; an offset in the module until that has one.
        relocations: What refers to other places, in the file's order.
        patches: Likewise what insmod itself adds: addresses that replace what is there.
    """

    def __init__(self, index: int, name: str, kind: int, flags: int, align: int, size: int) -> None:
        self.index, self.name, self.type, self.flags, self.align = index, name, kind, flags, align
        self.size = size
        self.address = 0
        self.relocations: list[Relocation] = []
        self.patches: list[Relocation] = []
        self._contents: bytearray | None = None

    @property
    def contents(self) -> bytearray:
        """Its bytes; zeros where the file has none."""
        if self._contents is None:
            if self.size > _LARGEST:
                raise ToolError(f"section {self.name} has {self.size} bytes")
            self._contents = bytearray(self.size)
        return self._contents

    @contents.setter
    def contents(self, contents: bytes | bytearray) -> None:
        self._contents = bytearray(contents)
        self.size = len(contents)

    def extend(self, data: bytes) -> int:
        """Add bytes at the end; the offset of the first."""
        offset = self.size
        self.contents = self.contents + data
        return offset

    @property
    def allocated(self) -> bool:
        """Whether it becomes part of the module's memory."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def priority(self) -> int:
        """Where it is placed among the others: higher ones first (obj_load_order_prio)."""
        named_init = len(self.name) == 10 and self.name[0] == "." and self.name[5:] == ".init"
        return (
            (0 if named_init else 64)
            | (32 if self.allocated else 0)
            | (16 if self.flags & SHF_EXECINSTR else 0)
            | (0 if self.flags & SHF_WRITE else 8)
            | (0 if self.type == SHT_NOBITS else 4)
        )


class Symbol:
    """One symbol: in a section, absolute, undefined, or found in the kernel or another module.

    Attributes:
        section: Index of its section, SHN_*, or EXTERNAL and above.
        value: Offset in the section, or its value.
    """

    def __init__(self, name: str, binding: int, kind: int, section: int, value: int, size: int = 0) -> None:
        self.name, self.binding, self.type = name, binding, kind
        self.section, self.value, self.size = section, value, size

    @property
    def external(self) -> bool:
        """Whether the kernel or another module has it."""
        return self.section >= EXTERNAL

    @property
    def undefined(self) -> bool:
        """Whether nobody has it yet."""
        return self.section == SHN_UNDEF


class Relocation(NamedTuple):
    """A place that is to hold a symbol's address."""

    offset: int
    type: int
    symbol: Symbol
    addend: int


class ObjectFile:
    """A relocatable object being linked.

    Args:
        name: As messages name it.
        blob: The file.

    Raises:
        ToolError: It is no module, or damaged.
    """

    def __init__(self, name: str, blob: bytes) -> None:
        self.name = name
        self.sections: list[Section] = []
        self.symbols: dict[str, Symbol] = {}
        self.locals: list[Symbol] = []
        self.load_order: list[Section] = []
        header = self._check(blob)
        headers = read_sections(blob, header)
        self._read(blob, headers, header.shstrndx)

    def _check(self, blob: bytes) -> Header:
        if len(blob) < EHDR_SIZE:
            raise ToolError(f"cannot read ELF header from {self.name}")
        if blob[:4] != b"\x7fELF":
            raise ToolError(f"{self.name} is not an ELF file")
        header = Header.read(blob)
        if blob[4:7] != b"\x02\x01\x01" or header.machine != EM_X86_64:
            raise ToolError(f"ELF file {self.name} not for this architecture")
        if header.type != ET_REL:
            raise ToolError(f"ELF file {self.name} not a relocatable object")
        if header.shentsize != SHDR_SIZE:
            raise ToolError(f"section header size mismatch {self.name}: {header.shentsize} != {SHDR_SIZE}")
        if header.shoff + header.shnum * SHDR_SIZE > len(blob) or header.shstrndx >= header.shnum:
            raise ToolError(f"error reading ELF section headers {self.name}")
        return header

    def _read(self, blob: bytes, headers: list[elf.Section], names_index: int) -> None:
        names = self._contents(blob, headers[names_index])
        for each in headers:
            self._add_section(blob, each, cstring(names, each.name_offset))
        tables = [each for each in headers if each.type == SHT_SYMTAB]
        symbols: list[Symbol] = []
        for table in tables[:1]:
            if table.entsize != SYM_SIZE or table.link >= len(headers):
                raise ToolError(f"symbol size mismatch {self.name}: {table.entsize} != {SYM_SIZE}")
            strings = self._contents(blob, headers[table.link])
            symbols = [*self._read_symbols(self._contents(blob, table), strings)]
        for each in headers:
            if each.type == SHT_RELA:
                self._read_relocations(self._contents(blob, each), each.info, symbols)

    def _contents(self, blob: bytes, section: elf.Section) -> bytes:
        if section.type in (SHT_NOBITS, SHT_NULL):
            return b""
        if section.offset + section.size > len(blob):
            raise ToolError(f"error reading ELF section data {self.name}")
        return blob[section.offset : section.offset + section.size]

    def _add_section(self, blob: bytes, header: elf.Section, name: str) -> None:
        if header.type == SHT_REL:
            raise ToolError(f"REL relocations not supported on this architecture {self.name}")
        if header.type not in _KNOWN_TYPES:
            raise ToolError(f"can't handle sections of type {header.type} {self.name}")
        if header.align & header.align - 1:
            raise ToolError(f"section {name} of {self.name} has the alignment {header.align}")
        section = Section(header.index, name, header.type, header.flags, header.align, header.size)
        if header.type != SHT_NOBITS:
            section.contents = self._contents(blob, header)
        self.sections.append(section)
        if section.allocated:
            self._insert(section)

    def _read_symbols(self, table: bytes, strings: bytes) -> Iterator[Symbol]:
        for index, (name_at, info, _, shndx, value, size) in enumerate(
            SYM.iter_unpack(table[: len(table) // SYM_SIZE * SYM_SIZE])
        ):
            kind, binding = info & 15, info >> 4
            if SHN_UNDEF < shndx < _SHN_LORESERVE:
                if shndx >= len(self.sections):
                    raise ToolError(f"a symbol of {self.name} is in section {shndx}, which there is not")
            elif shndx not in (SHN_UNDEF, SHN_ABS, SHN_COMMON):
                raise ToolError(f"a symbol of {self.name} is in section {shndx:#x}, which there is not")
            name = cstring(strings, name_at)
            if kind == STT_SECTION and shndx < _SHN_LORESERVE:
                name = self.sections[shndx].name
            symbol = Symbol(name, binding, kind, shndx, value, size)
            if index and binding != STB_LOCAL:
                symbol = self.define(symbol)
            elif index and kind != STT_FILE:
                self.locals.append(symbol)
            yield symbol

    def _read_relocations(self, table: bytes, target: int, symbols: list[Symbol]) -> None:
        if target >= len(self.sections):
            raise ToolError(f"error reading ELF section data {self.name}")
        section = self.sections[target]
        for offset, kind, index, addend in _RELA.iter_unpack(table[: len(table) // 24 * 24]):
            if index >= len(symbols):
                raise ToolError(f"a relocation of {self.name} names symbol {index}, which there is not")
            section.relocations.append(Relocation(offset, kind, symbols[index], addend))

    # --- symbols ------------------------------------------------------------------------------------------

    def define(self, new: Symbol) -> Symbol:
        """Enter a global symbol; the one that counts if there is one of that name (obj_add_symbol).

        Raises:
            ToolError: Both are defined.
        """
        old = self.symbols.get(new.name)
        if old is None:
            self.symbols[new.name] = new
            return new
        if new.undefined:
            return old
        strong = new.binding != STB_WEAK
        if old.undefined or (old.binding == STB_WEAK and strong) or old.section == SHN_COMMON:
            old.binding, old.type, old.section = new.binding, new.type, new.section
            old.value, old.size = new.value, new.size
        elif strong and new.section != SHN_COMMON:
            raise ToolError(f"{new.name} multiply defined")
        return old

    def find_symbol(self, name: str) -> Symbol | None:
        """The symbol of that name, a global one before a local one."""
        if name in self.symbols:
            return self.symbols[name]
        return next((symbol for symbol in self.locals if symbol.name == name), None)

    def every_symbol(self) -> Iterator[Symbol]:
        """All of them."""
        yield from self.locals
        yield from self.symbols.values()

    def final_value(self, symbol: Symbol) -> int:
        """Its address, once sections have theirs."""
        if symbol.section < _SHN_LORESERVE and not symbol.undefined:
            return symbol.value + self.sections[symbol.section].address & _MASK64
        return symbol.value

    # --- sections -----------------------------------------------------------------------------------------

    def find_section(self, name: str) -> Section | None:
        """The section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def create_section(
        self, name: str, align: int, size: int, flags: int = 0, *, first: bool = False
    ) -> Section:
        """Add a section that becomes part of the module's memory."""
        section = Section(len(self.sections), name, SHT_PROGBITS, flags | SHF_ALLOC, align, size)
        self.sections.append(section)
        if first:
            self.load_order.insert(0, section)
        else:
            self._insert(section)
        return section

    def _insert(self, section: Section) -> None:
        """Behind all sections of at least its priority."""
        behind = (
            number
            for number, other in enumerate(self.load_order)
            if other.name != ".this" and other.priority < section.priority
        )
        self.load_order.insert(next(behind, len(self.load_order)), section)

    def patch_symbol(self, section: Section, offset: int, symbol: Symbol) -> None:
        """Have the 8 bytes there hold a symbol's address (obj_symbol_patch)."""
        section.patches.append(Relocation(offset, 1, symbol, 0))

    def patch_string(self, section: Section, offset: int, string: str) -> None:
        """Have the 8 bytes there hold the address of a string, which is added (obj_string_patch)."""
        strings = self.find_section(".kstrtab")
        if strings is None or not strings.allocated:
            strings = self.create_section(".kstrtab", 1, 0)
        at = strings.extend(string.encode("utf-8", "surrogateescape") + b"\0")
        place = Symbol("", STB_LOCAL, STT_OBJECT, strings.index, at)
        section.patches.append(Relocation(offset, 1, place, 0))

    # --- .modinfo -----------------------------------------------------------------------------------------

    def modinfo(self) -> dict[str, str]:
        """The strings of .modinfo; of several with one tag the first."""
        section = self.find_section(".modinfo")
        tags: dict[str, str] = {}
        for tag, value in parse_modinfo(bytes(section.contents)) if section is not None else ():
            tags.setdefault(tag, value)
        return tags
