"""What a module file exports, what it needs, and with which CRCs (kmod 30, libkmod/libkmod-elf.c).

libkmod takes a `__crc_` symbol for an export and, in a file that has none, every string of
`__ksymtab_strings`. What the file needs are its undefined symbols, then what only `__versions` names.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kmod.elf import find_sections, layout, section_table
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from mmap import mmap

    _Row = tuple[int, int, int, int]
    Need = tuple[bytes, int, bool]  # name, CRC, weak

_SECTIONS = frozenset((b".modinfo", b".symtab", b".strtab", b"__versions", b"__ksymtab_strings"))
_SYMBOL = {False: "IIIBBH", True: "IBBHQQ"}  # by whether it is the 64-bit class
_VERSION = {False: "I60s", True: "Q56s"}
_CRC = b"__crc_"
_WEAK, _ABSOLUTE = 2, 0xFFF1
_NO_CRC = (1 << 64) - 1  # where a CRC's place makes no sense


class Symbols:
    """The symbols of a module file.

    Args:
        blob: The file, whole or mapped; only what is asked for is read.

    Raises:
        OSError: ENOEXEC for what is no ELF file, EINVAL for one that is damaged.
    """

    def __init__(self, blob: bytes | mmap) -> None:
        self._blob = blob
        self._order, self._wide = layout(blob)
        self._headers = section_table(blob)
        self._sections = find_sections(blob, _SECTIONS, self._headers)

    def modinfo(self) -> list[bytes]:
        """The strings of `.modinfo`."""
        return [text for text in self._section(b".modinfo").split(b"\0") if text]

    def exports(self) -> list[tuple[bytes, int]]:
        """Name and CRC of each export, in file order."""
        names = self._section(b".strtab")
        if _CRC in names and (table := self._symtab()) is not None and _inside(table, names):
            found = [
                (name[len(_CRC) :], self._resolve(value, section))
                for name, value, _, section in _named(table, names)
                if name.startswith(_CRC)
            ]
            if found:
                return found
        return [(name, 0) for name in self._section(b"__ksymtab_strings").split(b"\0") if name]

    def versions(self) -> list[tuple[bytes, int]]:
        """Name and CRC of each entry of `__versions`.

        Raises:
            OSError: ENOENT without the section, EINVAL for one of an odd size.
        """
        if b"__versions" not in self._sections:
            raise OSError(errno.ENOENT, errno.strerror(errno.ENOENT))
        data = self._section(b"__versions")
        entry = struct.Struct(self._order + _VERSION[self._wide])
        if len(data) % entry.size:
            raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL))
        return [(name.partition(b"\0")[0], crc) for crc, name in entry.iter_unpack(data)]

    def needs(self) -> list[Need]:
        """What the module needs, in libkmod's order; nothing if its symbol table is unsound."""
        names, table = self._section(b".strtab"), self._symtab(undefined=True)
        if table is None or not _inside(table, names):
            return []
        try:
            versions = self.versions()
        except OSError:
            versions = []
        crcs = dict(reversed(versions))  # of several, the first
        found = [
            (name, crcs.get(name, 0), bind == _WEAK) for name, _, bind, _ in _named(table, names) if name
        ]
        undefined = {name for name, _, _ in found}
        return found + [(name, crc, False) for name, crc in versions if name not in undefined]

    def _symtab(self, *, undefined: bool = False) -> list[_Row] | None:
        """Name's place, value, bind and section of all symbols or the undefined ones; None if unsound."""
        if b".symtab" not in self._sections or b".strtab" not in self._sections:
            return None
        entry = struct.Struct(self._order + _SYMBOL[self._wide])
        data = self._section(b".symtab")
        if len(data) % entry.size:
            return None
        rows = entry.iter_unpack(data[entry.size :])  # the first is no symbol
        if self._wide:
            return [(n, value, info >> 4, at) for n, info, _, at, value, _ in rows if not (undefined and at)]
        return [(n, value, info >> 4, at) for n, value, _, info, _, at in rows if not (undefined and at)]

    def _resolve(self, value: int, section: int) -> int:
        """A CRC: the symbol's value or, in newer kernels, what lies at that place of its section."""
        if section in (0, _ABSOLUTE):
            return value
        if not 0 < section < len(self._headers):
            return _NO_CRC
        offset, size = self._headers[section][4:6]
        if value > size - 4 or offset + size > len(self._blob):
            return _NO_CRC
        at = offset + value
        return int.from_bytes(self._blob[at : at + 4], "little" if self._order == "<" else "big")

    def _section(self, name: bytes) -> bytes:
        offset, size = self._sections.get(name, (0, 0))
        return self._blob[offset : offset + size]


def _inside(table: list[_Row], names: bytes) -> bool:
    """Whether every name begins inside the table of names."""
    return all(row[0] < len(names) for row in table)


def _named(table: list[_Row], names: bytes) -> list[tuple[bytes, int, int, int]]:
    """The same rows with the names themselves."""
    end = names.find
    return [(names[at : end(b"\0", at)], value, bind, section) for at, value, bind, section in table]
