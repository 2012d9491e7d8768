"""The ELF image of a module. It is untrusted: verify.py checks what the kernel checks, and no more."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module.errors import OutsideImage

if TYPE_CHECKING:
    from collections.abc import Sequence

EHDR_SIZE, SHDR_SIZE, SYM_SIZE, RELA_SIZE = 64, 64, 24, 24
ET_REL, EM_X86_64 = 1, 62
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
)
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHF_RO_AFTER_INIT = 0x0020_0000
SHN_UNDEF, SHN_LIVEPATCH, SHN_ABS, SHN_COMMON = 0, 0xFF20, 0xFFF1, 0xFFF2
STB_WEAK = 2

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
SYM = struct.Struct("<IBBHQQ")


class Header(NamedTuple):
    """What of the ELF header is looked at."""

    ident: bytes
    type: int
    machine: int
    shoff: int
    shentsize: int
    shnum: int
    shstrndx: int

    @classmethod
    def read(cls, blob: bytes) -> Header:
        """From the start of a file that is long enough."""
        ident, type_, machine, _, _, _, shoff, _, _, _, _, shentsize, shnum, shstrndx = _EHDR.unpack_from(
            blob
        )
        return cls(ident, type_, machine, shoff, shentsize, shnum, shstrndx)


class Section:
    """A section header; `address` and `flags` change while the module is laid out."""

    __slots__ = ("address", "align", "entsize", "flags", "index", "info", "link", "name", "name_offset",
                 "offset", "size", "type")  # fmt: skip

    def __init__(self, index: int, fields: tuple[int, ...]) -> None:
        self.index = index
        (self.name_offset, self.type, self.flags, self.address, self.offset, self.size, self.link, self.info,
         self.align, self.entsize) = fields  # fmt: skip
        self.name = ""

    @property
    def allocated(self) -> bool:
        """Whether it gets memory."""
        return bool(self.flags & SHF_ALLOC)


def read_sections(blob: bytes, header: Header) -> list[Section]:
    """All section headers; the first one even if the file has none, as the kernel looks at it."""
    headers = blob[header.shoff : header.shoff + max(header.shnum, 1) * SHDR_SIZE]
    headers += bytes(-len(headers) % SHDR_SIZE)
    return [Section(index, fields) for index, fields in enumerate(_SHDR.iter_unpack(headers))]


class Symbol(NamedTuple):
    """A symbol table entry."""

    name_offset: int
    info: int
    other: int
    shndx: int
    value: int
    size: int

    @property
    def binding(self) -> int:
        """STB_*."""
        return self.info >> 4


class Image:
    """A module file that passed verification.

    Attributes:
        blob: The file, without signature.
        sections: All section headers.
        symbols: The symbol table, entry 0 included.
        name: What `.modinfo`, else `struct module`, calls the module.
    """

    def __init__(self, blob: bytes, type_: int, machine: int, sections: list[Section], shstrtab: int) -> None:
        self.blob, self.type, self.machine, self.sections = blob, type_, machine, sections
        names = sections[shstrtab]
        self._names_offset = names.offset
        self._section_names = blob[names.offset : names.offset + names.size]
        for section in sections:
            section.name = cstring(self._section_names, section.name_offset)
        self.symbols: Sequence[Symbol] = ()
        self._strings = b""
        self.symtab = self.strtab = self.modinfo = self.this_module = self.versions = self.percpu = 0
        self.version_ext_crcs = self.version_ext_names = 0
        self.name = ""
        self.livepatch = False  # then all its symbols are kept, for relocations that come later

    def raw(self, section: Section) -> bytes:
        """The bytes at a section's offset, which some readers take whatever its type says."""
        return self.blob[section.offset : section.offset + section.size]

    def contents(self, section: Section) -> bytes:
        """The bytes of a section in the file."""
        if section.type == SHT_NOBITS:
            return b""
        return self.raw(section)

    def find(self, name: str) -> int:
        """Index of the first allocated section of that name, 0 if there is none (find_sec)."""
        for section in self.sections[1:]:
            if section.flags & SHF_ALLOC and section.name == name:
                return section.index
        return 0

    def find_all(self, name: str) -> list[int]:
        """Indices of all sections of that name, allocated or not."""
        return [section.index for section in self.sections[1:] if section.name == name]

    def find_last(self, name: str) -> int:
        """Index of the last section of that name, allocated or not, 0 if there is none.

        Raises:
            OutsideImage: The name of a section, 0 included, is outside of the image.
        """
        found = 0
        for section in self.sections:
            if section.name_offset >= len(self.blob):
                raise OutsideImage(
                    self._names_offset + section.name_offset,
                    f"the name of section {section.index} is far outside",
                )
            if section.name == name:
                found = section.index
        return found

    def load_symbols(self) -> None:
        """Read the symbol table and note its string table."""
        table, strings = self.sections[self.symtab], self.sections[self.strtab]
        raw = self.contents(table)
        raw = raw[: len(raw) // SYM_SIZE * SYM_SIZE]
        self.symbols = [Symbol(*fields) for fields in SYM.iter_unpack(raw)]
        # The kernel does not check where a name ends, so strings go on to the end of the image.
        self._strings = self.blob[strings.offset :]

    def symbol_name(self, symbol: Symbol) -> str:
        """Name of a symbol."""
        return cstring(self._strings, symbol.name_offset)

    def modinfo_tags(self) -> list[tuple[str, str]]:
        """All `tag=value` strings of .modinfo in order.

        The kernel reads it whatever its type says, and a last string without NUL to the next NUL of the file.
        """
        if not self.modinfo:
            return []
        section = self.sections[self.modinfo]
        end = section.offset + section.size
        if self.blob[end - 1 : end] != b"\0":
            end = max(self.blob.find(0, end), end)
        return parse_modinfo(self.blob[section.offset : end])


def parse_modinfo(data: bytes) -> list[tuple[str, str]]:
    r"""Split .modinfo into tags and values; strings without `=` are left out.

    >>> parse_modinfo(b"license=GPL\0\0junk\0author=A=B\0")
    [('license', 'GPL'), ('author', 'A=B')]
    """
    pairs = []
    for entry in data.split(b"\0"):
        tag, equals, value = entry.partition(b"=")
        if equals:
            pairs.append((text(tag), text(value)))
    return pairs


def cstring(data: bytes, offset: int) -> str:
    """The NUL-terminated text at `offset`; "" outside."""
    if offset >= len(data):
        return ""
    end = data.find(0, offset)
    return text(data[offset : end if end >= 0 else len(data)])


def text(raw: bytes) -> str:
    """Bytes as text that encodes back to the same bytes."""
    return raw.decode("utf-8", "surrogateescape")
