"""A kernel's exported symbols as columns: what a profile keeps of some 10,000 of them."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.profile_file import Columns

__all__ = ["Export", "ExportTable", "encode_exports"]

_MASK64 = (1 << 64) - 1


class Export(NamedTuple):
    """A symbol that the real kernel exports.

    Attributes:
        name: The symbol.
        crc: Its CRC, None in a kernel built without MODVERSIONS.
        gpl: Whether only GPL-compatible modules may use it.
        namespace: The namespace an importer must name, "" for none.
        value: Its link-time address; a per-CPU symbol's is an offset into the per-CPU area where the
            kernel's per-CPU section is zero-based (up to 6.12).
    """

    name: str
    crc: int | None
    gpl: bool
    namespace: str
    value: int


class ExportTable(Mapping[str, Export]):
    """All exports of a release, in columns sorted by name; rows are made on demand."""

    def __init__(self, columns: Columns) -> None:
        text = columns.text("names")
        self.names = text.split(" ") if text else []
        self.index = dict(zip(self.names, range(len(self.names)), strict=True))
        self._columns = columns

    @cached_property
    def _values(self) -> array[int]:
        return array("i", self._columns.column("values"))

    @cached_property
    def _crcs(self) -> array[int]:
        return array("I", self._columns.column("crcs"))

    @cached_property
    def _gpl(self) -> bytes:
        return self._columns.column("gpl")

    @cached_property
    def _namespaces(self) -> dict[int, str]:
        table = json.loads(self._columns.text("namespaces"))
        return {position: namespace for namespace, positions in table.items() for position in positions}

    def with_crcs(self, crcs: Mapping[str, int], *, present: bool) -> ExportTable:
        """The same exports; with these CRCs instead of their own, or with none at all."""
        from copy import copy

        other = copy(self)
        words = array("I", self._crcs) if present else array("I")
        for name, crc in crcs.items():
            position = self.index.get(name)
            if words and position is not None:
                words[position] = crc
        other._crcs = words
        return other

    def __getitem__(self, name: str) -> Export:
        position = self.index[name]
        return Export(
            name,
            self._crcs[position] if self._crcs else None,
            self._gpl[position] == ord("1"),
            self._namespaces.get(position, ""),
            self._values[position] & _MASK64,
        )

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def encode_exports(rows: list[Export]) -> dict[str, bytes]:
    """The columns for exports that are sorted by name.

    Raises:
        ValueError: An address outside the topmost and lowest 2 GiB, or a CRC here and none there.
    """
    return {
        "names": " ".join(row.name for row in rows).encode(),
        "values": _value_column(rows),
        "crcs": _crc_column(rows),
        "gpl": "".join("1" if row.gpl else "0" for row in rows).encode(),
        "namespaces": _namespace_column(rows),
    }


def _value_column(rows: list[Export]) -> bytes:
    """Link addresses in 4 bytes each: all lie in the lowest or the topmost 2 GiB (sign-extended)."""
    for row in rows:
        if not (row.value < 1 << 31 or row.value >= (1 << 64) - (1 << 31)):
            raise ValueError(f"{row.name}: {row.value:#x} does not fit in 32 sign-extended bits")
    return array("I", [row.value & 0xFFFF_FFFF for row in rows]).tobytes()


def _crc_column(rows: list[Export]) -> bytes:
    """CRCs in 4 bytes each; nothing when the kernel has none."""
    crcs = [row.crc for row in rows if row.crc is not None]
    if crcs and len(crcs) != len(rows):
        missing = [row.name for row in rows if row.crc is None]
        raise ValueError(f"some exports have a CRC and some have none: {', '.join(missing[:5])}")
    return array("I", crcs).tobytes()


def _namespace_column(rows: list[Export]) -> bytes:
    """JSON: namespace -> positions of its exports."""
    namespaces: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if row.namespace:
            namespaces.setdefault(row.namespace, []).append(position)
    return json.dumps(namespaces, sort_keys=True, separators=(",", ":")).encode()
