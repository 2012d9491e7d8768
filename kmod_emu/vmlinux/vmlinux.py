"""The vmlinux: its sections, and its memory at the addresses it is linked at."""

from __future__ import annotations

import re
import struct
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.vmlinux.errors import BadImage
from kmod_emu.vmlinux.image import read_image

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Section", "Vmlinux", "segment_address", "types_only"]

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_PROGRAM_HEADERS = 32  # in the ELF header: where they are
_CLASS64, _LITTLE_ENDIAN, _EM_X86_64 = 2, 1, 62
_SHT_NOBITS, _SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 8, 1, 2, 4
_MACHINES = {3: "32-bit x86", 40: "ARM", 183: "arm64", 243: "RISC-V", 21: "POWER", 22: "s390", 8: "MIPS"}


class Section(NamedTuple):
    """One section: its name, link address, place in the file and size, and whether it is code."""

    name: str
    address: int
    offset: int
    size: int
    allocated: bool
    executable: bool
    in_file: bool


class Vmlinux:
    """A kernel as an ELF file.

    Args:
        elf: The file's contents.
        banner: What its bzImage says about it.

    Raises:
        BadImage: It is not an x86-64 ELF file, or is cut off.
    """

    def __init__(self, elf: bytes, banner: str = "") -> None:
        self.elf = elf
        self.banner = banner
        self.sections = _sections(elf)
        self._by_name = {section.name: section for section in reversed(self.sections)}
        self._mapped = sorted(
            (section for section in self.sections if section.allocated and section.size),
            key=lambda section: section.address,
        )

    @classmethod
    def from_image(cls, blob: bytes, told: Callable[[bytes], None] | None = None) -> Vmlinux:
        """From a vmlinuz or vmlinux file, whose pieces others are told of; BadImage if it is neither."""
        image = read_image(blob, told) if told else read_image(blob)
        return cls(image.elf, image.banner)

    def section(self, name: str) -> Section | None:
        """A section by name."""
        return self._by_name.get(name)

    def contents(self, name: str) -> bytes:
        """The bytes of a section, none if there is no such section."""
        section = self._by_name.get(name)
        if section is None or not section.in_file:
            return b""
        return self.elf[section.offset : section.offset + section.size]

    def read(self, address: int, size: int) -> bytes:
        """Memory at a link address, zeros in .bss; KeyError where nothing is linked."""
        for section in self._mapped:
            inside = address - section.address
            if inside >= 0 and inside + size <= section.size:
                if not section.in_file:
                    return bytes(size)
                return self.elf[section.offset + inside : section.offset + inside + size]
        raise KeyError(f"nothing is linked at {address:#x}")

    def text(self, address: int) -> str:
        """The NUL-terminated text at a link address; KeyError where none is."""
        for section in self._mapped:
            inside = address - section.address
            if 0 <= inside < section.size and section.in_file:
                start = section.offset + inside
                end = self.elf.find(b"\0", start, section.offset + section.size)
                if end >= 0:
                    return self.elf[start:end].decode("utf-8", "backslashreplace")
        raise KeyError(f"no text is linked at {address:#x}")

    @cached_property
    def linux_banner(self) -> str:
        """What /proc/version prints, "Linux version 6.1.0 (builder) (compiler) #1 ..."; "" if not found."""
        found = re.search(rb"Linux version [^\0%\n]+ #\d[^\0%\n]+\n\0", self.elf)
        return found[0].decode("latin-1").rstrip("\n\0") if found else ""


def segment_address(beginning: bytes) -> int:
    """Where the first byte of an ELF file would be linked if its first segment began there.

    Raises:
        BadImage: It has no segment, or its beginning is not all there.
    """
    try:
        (table,) = struct.unpack_from("<Q", beginning, _PROGRAM_HEADERS)
        offset, address = struct.unpack_from("<QQ", beginning, table + 8)
    except struct.error:
        raise BadImage("an ELF file that is cut off") from None
    return int(address - offset)


def types_only(blob: bytes) -> bytes:
    """The BTF in an ELF file without code, as packages of kernel headers have it; b"" for anything else."""
    if not blob.startswith(b"\x7fELF"):
        return b""
    kernel = Vmlinux(blob)
    return b"" if any(section.executable for section in kernel.sections) else kernel.contents(".BTF")


def _sections(elf: bytes) -> list[Section]:
    if len(elf) < _ELF_HEADER.size or not elf.startswith(b"\x7fELF"):
        raise BadImage("not an ELF file")
    header = _ELF_HEADER.unpack_from(elf)
    ident, machine = header[0], header[2]
    if ident[4] != _CLASS64 or ident[5] != _LITTLE_ENDIAN or machine != _EM_X86_64:
        raise BadImage(f"a kernel for {_MACHINES.get(machine, f'machine {machine}')}, not for x86-64")
    table, entry, count, names_index = header[6], header[11], header[12], header[13]
    if not count or entry != _SECTION.size or table + count * entry > len(elf) or names_index >= count:
        raise BadImage("an ELF file that is cut off: its section table is not there")
    raw = list(_SECTION.iter_unpack(elf[table : table + count * entry]))
    strings = elf[raw[names_index][4] : raw[names_index][4] + raw[names_index][5]]
    sections = []
    for name, kind, flags, address, offset, size, *_ in raw:
        label = strings[name:].partition(b"\0")[0].decode("latin-1")
        if kind != _SHT_NOBITS and offset + size > len(elf):
            raise BadImage(f"an ELF file that is cut off: section {label} ends behind it")
        sections.append(
            Section(
                label,
                address,
                offset,
                size,
                bool(flags & _SHF_ALLOC),
                flags & (_SHF_WRITE | _SHF_EXECINSTR) == _SHF_EXECINSTR,  # .data of 7.2 claims to be both
                kind != _SHT_NOBITS,
            )
        )
    return sections
