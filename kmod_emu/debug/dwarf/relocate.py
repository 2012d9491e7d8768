"""A module file with its debug information made to fit where the module was loaded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["relocate_debug_sections"]

_SHT_RELA = 4
_SHN_LORESERVE = 0xFF00
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL_SIZE = 24
_FORMATS = {1: ("<Q", 64), 10: ("<I", 32), 11: ("<I", 32), 24: ("<Q", 64)}  # 64, 32, 32S, PC64


class _Section(NamedTuple):
    name: str
    kind: int
    offset: int
    size: int
    link: int
    info: int


def relocate_debug_sections(image: bytes, addresses: Mapping[str, int]) -> bytes:
    """The file with the relocations of its `.debug_*` sections applied.

    Args:
        image: A relocatable ELF file of this machine's kind.
        addresses: Where its sections lie, by name; the others begin at 0, as debug sections do.

    Raises:
        struct.error: The file is damaged.
        IndexError: Likewise.
    """
    sections = _sections(image)
    patched = bytearray(image)
    for rela in sections:
        if rela.kind != _SHT_RELA or not sections[rela.info].name.startswith(".debug_"):
            continue
        values = _symbol_values(image, sections, sections[rela.link], addresses)
        base = sections[rela.info].offset
        end = rela.offset + rela.size // 24 * 24
        for place, info, addend in struct.iter_unpack("<QQq", image[rela.offset : end]):
            form = _FORMATS.get(info & 0xFFFF_FFFF)
            if form is not None:
                value = (values[info >> 32] + addend) & (1 << form[1]) - 1
                struct.pack_into(form[0], patched, base + place, value)
    return bytes(patched)


def _sections(image: bytes) -> list[_Section]:
    start, size, count, names = struct.unpack_from("<Q10xHHH", image, 40)
    raw = [_SECTION_HEADER.unpack_from(image, start + size * index) for index in range(count)]
    table = raw[names][4]
    found = []
    for name, kind, _, _, offset, length, link, info, _, _ in raw:
        text = image[table + name : image.index(b"\0", table + name)].decode("utf-8", "backslashreplace")
        found.append(_Section(text, kind, offset, length, link, info))
    return found


def _symbol_values(
    image: bytes, sections: list[_Section], table: _Section, addresses: Mapping[str, int]
) -> list[int]:
    values = []
    for place in range(table.offset, table.offset + table.size, _SYMBOL_SIZE):
        index, value = struct.unpack_from("<HQ", image, place + 6)
        base = addresses.get(sections[index].name, 0) if 0 < index < _SHN_LORESERVE else 0
        values.append(base + value)
    return values
