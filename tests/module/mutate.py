"""Damaging module files, blindly or where it hurts: headers, symbols, relocations, the struct module."""

from __future__ import annotations

import struct

EDGES = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFF, 0x1000, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
# (offset, size) of each field of a section header, a symbol and a relocation.
SECTION = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
SYMBOL = ((0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8))
RELOCATION = ((0, 8), (8, 4), (12, 4), (16, 8))
HEADER = ((0, 4), (4, 1), (16, 2), (18, 2), (40, 8), (58, 2), (60, 2), (62, 2))


class Fields:
    """The places in a module file where a changed number matters, by table."""

    def __init__(self, image: bytes) -> None:
        headers, count = int.from_bytes(image[40:48], "little"), int.from_bytes(image[60:62], "little")
        self.sections = [headers + 64 * index for index in range(count)]
        tables: dict[int, list[tuple[int, int]]] = {}
        contents: list[tuple[int, int]] = []
        for header in self.sections:
            kind, flags = struct.unpack_from("<IQ", image, header + 4)
            offset, size = struct.unpack_from("<QQ", image, header + 24)
            tables.setdefault(kind, []).append((offset, size))
            if flags & 2 and kind == 1:
                contents.append((offset, size))
        self.groups: list[list[tuple[int, int]]] = [
            list(HEADER),
            [(at + place, size) for at in self.sections for place, size in SECTION],
            self._entries(tables.get(2, []), 24, SYMBOL),
            self._entries(tables.get(4, []), 24, RELOCATION),
            [
                (at, size)
                for start, length in contents
                for at in range(start, start + length)
                for size in (1,)
            ],
            [
                (at, 8)
                for start, length in contents
                if length % 8 == 0
                for at in range(start, start + length, 8)
            ],
        ]
        self.groups = [group for group in self.groups if group]

    @staticmethod
    def _entries(
        tables: list[tuple[int, int]], stride: int, fields: tuple[tuple[int, int], ...]
    ) -> list[tuple[int, int]]:
        return [
            (at + place, size)
            for start, length in tables
            for at in range(start, start + length, stride)
            for place, size in fields
        ]

    def pick(self, group: int, place: int) -> tuple[int, int]:
        """One field, by any two numbers."""
        fields = self.groups[group % len(self.groups)]
        return fields[place % len(fields)]


def patched(image: bytes, place: tuple[int, int], value: int, change: str) -> bytes:
    """The image with one field set to a value, or moved by it."""
    offset, size = place
    old = int.from_bytes(image[offset : offset + size], "little")
    changed = {"set": value, "add": old + value, "sub": old - value, "flip": old ^ 1 << value % (8 * size)}
    new = changed[change] % (1 << 8 * size)
    return image[:offset] + new.to_bytes(size, "little") + image[offset + size :]
