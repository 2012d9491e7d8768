"""Structure layouts as text, one a line: what a profile keeps of thousands of structures.

A line is `name size member...`. A member is `name`, then `/size` unless it has 8 bytes, then `@offset` unless
it lies where the compiler puts a member of that size; a bit-field is `name:offset,size,bit,bits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kmod_emu.abi.layout import Member, StructLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["StructTable", "encode_structs"]

_POINTER_SIZE = 8


def encode_structs(layouts: Iterable[StructLayout]) -> str:
    """The text for some layouts, sorted by name."""
    return "\n".join(_encode(layout) for layout in sorted(layouts))


def _encode(layout: StructLayout) -> str:
    words, end = [layout.name, str(layout.size)], 0
    for name, place in layout.members.items():
        if place.bit is not None and place.bits is not None:
            words.append(f"{name}:{place.offset},{place.size},{place.bit},{place.bits}")
            end = place.offset + (place.bit + place.bits + 7) // 8
            continue
        size = "" if place.size == _POINTER_SIZE else f"/{place.size}"
        offset = "" if place.offset == _natural(end, place.size) else f"@{place.offset}"
        words.append(name + size + offset)
        end = place.offset + place.size
    return " ".join(words)


def _decode(words: list[str]) -> Iterator[tuple[str, Member]]:
    end = 0
    for word in words:
        name, colon, bit_field = word.partition(":")
        if colon:
            offset, size, bit, bits = map(int, bit_field.split(","))
            yield name, Member(offset, size, bit, bits)
            end = offset + (bit + bits + 7) // 8
            continue
        name, at, explicit = word.partition("@")
        name, slash, length = name.partition("/")
        size = int(length) if slash else _POINTER_SIZE
        offset = int(explicit) if at else _natural(end, size)
        yield name, Member(offset, size)
        end = offset + size


def _natural(end: int, size: int) -> int:
    """Where a member of `size` bytes lies after `end`, if it is aligned as its size allows."""
    align = min(size & -size, _POINTER_SIZE) or 1
    return -(-end // align) * align


class StructTable(Mapping[str, StructLayout]):
    """Layouts by tag, from their text; each is built when first asked for.

    >>> StructTable("path 16 mnt dentry", "6.1").get("path").members["dentry"].offset
    8
    """

    def __init__(self, text: str, release: str = "") -> None:
        self._lines = {line[: line.index(" ")]: line for line in text.split("\n") if line}
        self._release = release
        self._layouts: dict[str, StructLayout] = {}

    def __getitem__(self, name: str) -> StructLayout:
        layout = self._layouts.get(name)
        if layout is None:
            _, size, *members = self._lines[name].split(" ")
            layout = StructLayout(name, int(size), dict(_decode(members)), self._release)
            self._layouts[name] = layout
        return layout

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)
