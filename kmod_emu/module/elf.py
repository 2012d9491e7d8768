"""Verification of the ELF image (kernel/module/main.c: elf_validity_check, setup_load_info).

The image is untrusted. Every check is the kernel's, in its order, with its message; what the kernel does not
check here it does not check, and later steps must expect anything.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.uapi import errno

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
_KERN_ERR, _KERN_WARNING = 3, 4


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
        self._section_names = blob[names.offset : names.offset + names.size]
        for section in sections:
            section.name = cstring(self._section_names, section.name_offset)
        self.symbols: Sequence[Symbol] = ()
        self._strings = b""
        self.symtab = self.strtab = self.modinfo = self.this_module = self.versions = self.percpu = 0
        self.name = ""

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

    def find_last(self, name: str) -> int:
        """Index of the last section of that name, allocated or not, 0 if there is none.

        Raises:
            KernelWouldCrash: The name of a section, 0 included, is outside of the image.
        """
        found = 0
        for section in self.sections:
            if section.name_offset >= len(self.blob):
                raise KernelWouldCrash(
                    section.name_offset, f"the name of section {section.index} is far outside"
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


def _refuse(message: str, level: int = _KERN_ERR) -> LoadError:
    return LoadError(errno.ENOEXEC, "", (level, message))


def elf_validity_check(blob: bytes) -> Image:
    """All checks of the ELF header and the section headers, in the kernel's order.

    Raises:
        LoadError: ENOEXEC with the kernel's message.
    """
    if len(blob) < EHDR_SIZE:
        raise _refuse(f"Invalid ELF header len {len(blob)}")
    header = _EHDR.unpack_from(blob)
    ident, type_, machine, _, _, _, shoff, _, _, _, _, shentsize, shnum, shstrndx = header
    if ident[:4] != b"\x7fELF":
        raise _refuse("Invalid ELF header magic: != \x7fELF")
    if type_ != ET_REL:
        raise _refuse(f"Invalid ELF header type: {type_} != {ET_REL}")
    if machine != EM_X86_64:
        raise _refuse(f"Invalid architecture in ELF header: {machine}")
    if shentsize != SHDR_SIZE:
        raise _refuse("Invalid ELF section header size")
    if shoff >= len(blob) or shnum * SHDR_SIZE > len(blob) - shoff:
        raise _refuse("Invalid ELF section header overflow")
    headers = _SHDR.iter_unpack(blob[shoff : shoff + shnum * SHDR_SIZE])
    sections = [Section(index, fields) for index, fields in enumerate(headers)]
    if not 0 < shstrndx < shnum:
        raise _refuse(
            f"Invalid ELF section name index: {shstrndx} || e_shstrndx ({shstrndx}) >= e_shnum ({shnum})"
        )
    _check_section_names(blob, sections[shstrndx])
    first = sections[0]
    if first.type != SHT_NULL or first.size or first.address:
        type_ = first.type - (1 << 32) if first.type >> 31 else first.type
        raise _refuse(f"ELF Spec violation: section 0 type({type_})!=SH_NULL or non-zero len or addr")
    for section in sections[1:]:
        _check_section(blob, section, shnum, sections[shstrndx].size)
    return Image(blob, type_, machine, sections, shstrndx)


def _outside(blob: bytes, section: Section) -> bool:
    """validate_section_offset()."""
    return section.offset + section.size >= 1 << 64 or section.offset + section.size > len(blob)


def _check_section_names(blob: bytes, names: Section) -> None:
    if _outside(blob, names):
        raise _refuse(f"Invalid ELF section hdr(type {names.type})")
    if not names.size:
        raise _refuse("empty section name table")
    if blob[names.offset + names.size - 1]:
        raise _refuse("ELF Spec violation: section name table isn't null terminated")


def _check_section(blob: bytes, section: Section, shnum: int, names_size: int) -> None:
    if section.type in (SHT_NULL, SHT_NOBITS):
        return
    if section.type == SHT_SYMTAB and not 0 < section.link < shnum:
        link = section.link - (1 << 32) if section.link >> 31 else section.link
        raise _refuse(f"Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({shnum})")
    if _outside(blob, section):
        raise _refuse(f"Invalid ELF section in module (section {section.index} type {section.type})")
    if section.flags & SHF_ALLOC and section.name_offset >= names_size:
        raise _refuse(f"Invalid ELF section name in module (section {section.index} type {section.type})")


_NO_NAME = "(missing .modinfo section or name field)"


def setup_load_info(image: Image, name_offset: int) -> None:
    """Find the sections that every module must have.

    Args:
        image: A verified image; its indices and its name are filled in.
        name_offset: Offset of `name` in `struct module`.

    Raises:
        LoadError: ENOEXEC.
        KernelWouldCrash: `struct module` has no contents to read a name from.
    """
    image.modinfo = image.find(".modinfo")
    name = next((value for tag, value in image.modinfo_tags() if tag == "name"), None)
    for section in image.sections[1:]:
        if section.type == SHT_SYMTAB:
            image.symtab, image.strtab = section.index, section.link
            break
    else:
        raise _refuse(f"{name or _NO_NAME}: module has no symbols (stripped?)", _KERN_WARNING)
    image.load_symbols()
    image.this_module = image.find(".gnu.linkonce.this_module")
    if not image.this_module:
        raise _refuse(f"{name or _NO_NAME}: No module found in object", _KERN_WARNING)
    if name is None:
        start = image.sections[image.this_module].offset + name_offset
        if start >= len(image.blob):
            raise KernelWouldCrash(start)
        name = cstring(image.blob, start)
    image.name = name
    image.versions = image.find("__versions")
    image.percpu = image.find(".data..percpu")
