"""The symbols of a kernel image, of which a machine asks for few: looked up in columns of bytes.

The names lie behind each other in order, and so do their addresses and types; another column has the order by
address. A machine that is kept has all that in a file, which is mapped: a start reads what it looks up.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import ItemsView, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING

from kmod_emu.kernel.layout import START_KERNEL_MAP
from kmod_emu.kernel.symbols import Origin, SymbolTable, around

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kmod_emu.abi.profile import Profile
    from kmod_emu.kernel.symbols import Symbol

_HEAD = struct.Struct("<QQQ")  # symbols, those that addresses are named by, bytes of names
_CODE, _LOWER = b"tTwW", ord("a")


def pack(addresses: Sequence[int], symbols: Sequence[bytes]) -> bytes:
    """The columns, from symbols in the order of their addresses, each name behind its type.

    Of several symbols with one name the first is kept.
    """
    names = [symbol[1:] for symbol in symbols]
    first = dict(zip(reversed(names), reversed(range(len(names))), strict=True))
    in_order = sorted(first)
    rank = dict(zip(in_order, range(len(in_order)), strict=True))
    by_name = [first[name] for name in in_order]
    naming: dict[
        int, int
    ] = {}  # address -> rank of its name: of code, or of what any file of the kernel's sees
    seen = 0
    for address, symbol, name in zip(addresses, symbols, names, strict=True):
        kind = symbol[0]
        everywhere = kind < _LOWER and address >= START_KERNEL_MAP  # below are per-CPU offsets
        if everywhere or (kind in _CODE and seen != address):
            naming[address] = rank[name]
            seen = address if everywhere else 0
    columns = (
        array("Q", [addresses[index] for index in by_name]),
        array("Q", naming),
        array("I", accumulate((len(name) + 1 for name in in_order), initial=0)),
        array("I", naming.values()),
        array("B", [symbols[index][0] for index in by_name]),
        b"\n".join([*in_order, b""]),
    )
    head = _HEAD.pack(len(by_name), len(naming), len(columns[-1]))
    return head + b"".join(_padded(bytes(column)) for column in columns)


def _padded(column: bytes) -> bytes:
    return column + bytes(-len(column) % 8)


class ImageSymbols(Mapping[str, "tuple[int, str]"]):
    """Name -> (address, type as nm prints it), by name.

    Attributes:
        packed: What `pack` made.
        places: Addresses that others are named by, in order.
    """

    def __init__(self, packed: bytes | memoryview) -> None:
        self.packed = packed
        count, naming, size = _HEAD.unpack_from(packed)
        view, at, columns = memoryview(packed), _HEAD.size, []
        for width in (8 * count, 8 * naming, 4 * (count + 1), 4 * naming, count, size):
            columns.append(view[at : at + width])
            at += width + -width % 8
        self._addresses, self.places = columns[0].cast("Q"), columns[1].cast("Q")
        self._starts, self._named = columns[2].cast("I"), columns[3].cast("I")
        self._kinds, self._names = columns[4:]
        self._found: dict[str, tuple[int, str] | None] = {}  # what was asked for

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[str]:
        return iter(str(self._names, "utf-8", "backslashreplace").split("\n")[:-1])

    def __getitem__(self, name: str) -> tuple[int, str]:
        if name not in self._found:
            self._found[name] = self._find(name.encode())
        found = self._found[name]
        if found is None:
            raise KeyError(name)
        return found

    def _find(self, name: bytes) -> tuple[int, str] | None:
        index = bisect_left(range(len(self)), name, key=self._name)
        if index == len(self) or self._name(index) != name:
            return None
        return self._addresses[index], chr(self._kinds[index])

    def _name(self, index: int) -> bytes:
        return bytes(self._names[self._starts[index] : self._starts[index + 1] - 1])

    def items(self) -> ItemsView[str, tuple[int, str]]:
        """All, without looking each up."""
        return _Items(self)

    def rows(self) -> Iterator[tuple[str, int, str]]:
        """All: (name, address, type)."""
        return zip(self, self._addresses, map(chr, self._kinds), strict=True)

    def around(self, address: int) -> tuple[int, str, int]:
        """Where the symbol that an address is named by begins, its name, and where the next one begins.

        No name before the first one, 0 behind the last one.
        """
        index = bisect_right(self.places, address)
        end = self.places[index] if index < len(self.places) else 0
        if not index:
            return 0, "", end
        name = self._name(self._named[index - 1])
        return self.places[index - 1], name.decode("utf-8", "backslashreplace"), end


class _Items(ItemsView[str, "tuple[int, str]"]):
    _mapping: ImageSymbols

    def __iter__(self) -> Iterator[tuple[str, tuple[int, str]]]:
        return ((name, (address, kind)) for name, address, kind in self._mapping.rows())


class VmlinuxSymbols(SymbolTable):
    """The symbols of a machine whose image has `ImageSymbols`.

    Args:
        profile: As for `SymbolTable`.
        image: The image's.
    """

    def __init__(self, profile: Profile, image: ImageSymbols) -> None:
        super().__init__(profile, {})
        self._image = self._columns = image

    def _place(self, name: str) -> tuple[int, Origin] | None:
        if name in self._placed:
            return self._placed[name]
        address, kind = self._columns.get(name, (0, ""))
        return (address, Origin.IMAGE) if kind.isupper() else None

    def begins(self) -> frozenset[int]:
        """Where what addresses are named by begins."""
        return frozenset(self._columns.places)

    def present(self) -> Iterator[Symbol]:
        """Those exports that something stands behind, in no order."""
        found = (self.find(name) for name in self._profile.exports)
        return (symbol for symbol in found if symbol and symbol.origin is not Origin.ABSENT)

    def _around(self, address: int) -> tuple[int, str, int]:
        """Of the image and of what was placed since, whichever is nearer."""
        if self._sorted is None:
            self._sorted = sorted(self._named_places().items())
        nearest = max(self._columns.around(address), around(self._sorted, address), key=itemgetter(0))
        ends = self._columns.around(address)[2], around(self._sorted, address)[2]
        return nearest[0], nearest[1], min(filter(None, ends), default=0)
