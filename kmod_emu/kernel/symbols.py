"""The base kernel's symbol table: every export of the release, and where it is.

An export is guest code or data of the image, a trap into Python, data that Python laid out, or *absent*:
exported by the real kernel, not implemented here, and found out when it is touched.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.html import table
from kmod_emu.kernel.layout import ABSENT_BASE, ABSENT_STRIDE, START_KERNEL_MAP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kmod_emu.abi.profile import Profile


class Origin(Enum):
    """What stands behind a symbol's address."""

    IMAGE = "guest code"
    TRAP = "Python"
    DATA = "data"
    ABSENT = "not implemented"


_LETTERS = {Origin.IMAGE: "T", Origin.TRAP: "T", Origin.DATA: "D", Origin.ABSENT: "T"}


class Symbol(NamedTuple):
    """One symbol of the base kernel that modules may import."""

    name: str
    address: int
    origin: Origin
    crc: int | None
    gpl: bool
    namespace: str

    def _repr_html_(self) -> str:
        """For notebooks."""
        shown = self._asdict() | {
            "address": f"{self.address:#x}",
            "origin": self.origin.value,
            "crc": f"{self.crc:#010x}" if self.crc is not None else "none",
        }
        return table("", (), shown.items())


class Location(NamedTuple):
    """An address in words: `name+offset/size [module]`."""

    name: str
    offset: int
    size: int
    module: str | None = None

    def __str__(self) -> str:
        text = f"{self.name}+{self.offset:#x}/{self.size:#x}"
        return f"{text} [{self.module}]" if self.module else text


class SymbolTable:
    """Names, addresses and export attributes.

    Args:
        profile: Says what the release exports, with CRC, licence and namespace.
        image: Symbols of the guest image: name -> (address, type letter).
    """

    def __init__(self, profile: Profile, image: Mapping[str, tuple[int, str]]) -> None:
        self._profile = profile
        self._image = image
        self._placed: dict[str, tuple[int, Origin]] = {
            name: (address, Origin.IMAGE) for name, (address, letter) in image.items() if letter.isupper()
        }
        self._added: set[str] = set()  # exported by @kernel.export, not by the release
        self._sorted: list[tuple[int, str]] | None = None

    def place(self, name: str, address: int, origin: Origin, *, add: bool = False) -> None:
        """Say where a symbol is; `add` exports it even if the release does not."""
        self._placed[name] = (address, origin)
        self._sorted = None
        if add:
            self._added.add(name)

    def placed(self, name: str) -> bool:
        """Whether something stands behind the name."""
        return self._place(name) is not None

    def _place(self, name: str) -> tuple[int, Origin] | None:
        return self._placed.get(name)

    def internal(self, name: str) -> bool:
        """Whether the guest image has a symbol of that name, exported or not."""
        return name in self._image

    def exports(self, name: str) -> bool:
        """Whether modules may import the name."""
        return name in self._profile.exports or name in self._added

    def is_rodata(self, address: int) -> bool:
        """Whether an address is of the base kernel's constants (is_kernel_rodata())."""
        return self.address("__start_rodata") <= address < self.address("__end_rodata")

    def address(self, name: str) -> int:
        """Address of any symbol of the base kernel, exported or not; LookupError if there is none."""
        if name in self._placed:
            return self._placed[name][0]
        if name in self._image:
            return self._image[name][0]
        if name in self._profile.exports:
            return ABSENT_BASE + ABSENT_STRIDE * self._profile.export_index(name)
        raise LookupError(f"the base kernel has no symbol {name!r}")

    def find(self, name: str) -> Symbol | None:
        """The export of that name, or None: `find_symbol` for the base kernel's tables."""
        known = self._profile.exports.get(name)
        if known is None:
            if name not in self._added:
                return None
            return Symbol(name, *self._placed[name], None, False, "")
        address, origin = self._place(name) or (self.address(name), Origin.ABSENT)
        return Symbol(name, address, origin, known.crc, known.gpl, known.namespace)

    def absent(self, address: int) -> str | None:
        """The unimplemented export whose page holds `address`, or None."""
        index, names = (address - ABSENT_BASE) // ABSENT_STRIDE, self._profile.exports_names
        return names[index] if 0 <= index < len(names) else None

    def __iter__(self) -> Iterator[Symbol]:
        """All exports, by name."""
        for name in sorted({*self._profile.exports, *self._added}):
            symbol = self.find(name)
            assert symbol
            yield symbol

    def present(self) -> Iterator[Symbol]:
        """Those exports that something stands behind, in no order."""
        return (symbol for name in self._placed if (symbol := self.find(name)))

    def functions(self) -> Iterator[tuple[str, int]]:
        """Name and address of every function that is here, exported or not."""
        for name, (address, letter) in self._image.items():
            if letter in "tTwW":
                yield name, address
        for name, (address, origin) in self._placed.items():
            if origin is Origin.TRAP:
                yield name, address

    def listing(self) -> list[tuple[int, str, str]]:
        """(address, type letter, name) of all symbols, exported or not, by address."""
        found = {name: (address, letter) for name, (address, letter) in self._image.items()}
        for symbol in self:
            if symbol.name not in found:
                found[symbol.name] = symbol.address, _LETTERS[symbol.origin]
        for name, (address, origin) in self._placed.items():
            found.setdefault(name, (address, _LETTERS[origin]))
        return sorted(
            (address, letter if address >= START_KERNEL_MAP else "A", name)
            for name, (address, letter) in found.items()
        )

    def locate(self, address: int) -> Location | None:
        """The symbol of guest image or trap area that holds `address`."""
        start, name, end = self._around(address)
        if not name or not end or name == "_end":  # between the image and the traps there is nothing
            return None
        return Location(name, address - start, end - start)

    def _around(self, address: int) -> tuple[int, str, int]:
        """Where what an address is named by begins, its name, and where the next begins; "" and 0: none."""
        if self._sorted is None:
            entries = {address: name for name, (address, letter) in self._image.items() if letter in "tTwW"}
            self._sorted = sorted((entries | self._named_places()).items())
        return around(self._sorted, address)

    def _named_places(self) -> dict[int, str]:
        """What was placed, by address; no per-CPU offsets."""
        places = ((place, name) for name, (place, _) in self._placed.items())
        return {place: name for place, name in places if place >= START_KERNEL_MAP}


def around(places: list[tuple[int, str]], address: int) -> tuple[int, str, int]:
    """Of places in order the last one up to an address, its name, and the next one; "" and 0 for none."""
    index = bisect_right(places, (address, "\U0010ffff"))
    start, name = places[index - 1] if index else (0, "")
    return start, name, places[index][0] if index < len(places) else 0
