"""The kernel's own symbol table, found in the image without a symbol that says where it is.

scripts/kallsyms.c writes it into .rodata. Names are compressed with a table of 256 tokens; its tokens for
digits stand for themselves, which is how it is found. The order of the parts has changed:

=============  =====================================================================================
up to 6.0      offsets, relative base, count, names, markers, tokens
6.1 to 6.3     the same, with the order of the sorted names between markers and tokens
6.4 to 6.x     count, names, markers, tokens, offsets, relative base
7.x            the same without a relative base: an offset is the distance from its own place
=============  =====================================================================================

So the parts are recognised by what is in them: a count is followed by that many names, and these by markers
that say where every 256th name lies. Each part begins at a multiple of 8, in 7.x of 4.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.vmlinux.symbols import ImageSymbols, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.vmlinux.vmlinux import Section, Vmlinux

__all__ = ["DIGITS", "Kallsyms", "Symbol", "find", "search"]

_TOKENS = 256
DIGITS = b"".join(bytes([digit, 0]) for digit in b"0123456789")
_LONGEST_TOKEN = 64
_TYPES = frozenset(b"aAbBdDgGiNnpPrRsStTuUvVwW")
_MARKED = 256  # one marker for so many names
_FEWEST, _MOST = 1 << 8, 1 << 22
_MASK64 = (1 << 64) - 1
_KERNEL_HALF = 0xFFFF_FFFF
_BASED_COUNT = re.compile(rb"\xff\xff\xff\xff(..[\0-\x3f]\0)", re.DOTALL)  # it follows the relative base


class Symbol(NamedTuple):
    """A symbol: its link address, its type as nm prints it, its name."""

    address: int
    kind: str
    name: str


class Kallsyms:
    """All symbols of a kernel, in the order of their addresses.

    Attributes:
        layout: Which arrangement was found: "before" or "after" the names lie the addresses, or "relative"
            where each is a distance from its own place.
    """

    def __init__(self, layout: str, addresses: list[int], names: list[bytes]) -> None:
        self.layout = layout
        self._addresses = addresses
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Symbol]:
        for address, name in zip(self._addresses, self._names, strict=True):
            yield Symbol(address, chr(name[0]), name[1:].decode("utf-8", "backslashreplace"))

    @cached_property
    def table(self) -> ImageSymbols:
        """By name, of several with one name the first, and by address."""
        return ImageSymbols(pack(self._addresses, self._names))

    def address(self, name: str) -> int | None:
        """The link address of a symbol, of several with one name the first; None if there is none."""
        return self.table.get(name, (None, ""))[0]

    def end(self, start: int) -> int:
        """Where the symbol that begins at `start` ends: at the next one's beginning."""
        position = bisect_right(self._addresses, start)
        return self._addresses[position] if position < len(self._addresses) else start

    def at(self, address: int) -> Symbol | None:
        """The last symbol at or below an address."""
        position = bisect_right(self._addresses, address) - 1
        if position < 0:
            return None
        name = self._names[position]
        return Symbol(self._addresses[position], chr(name[0]), name[1:].decode("utf-8", "backslashreplace"))


def find(kernel: Vmlinux) -> Kallsyms | None:
    """The symbols of a kernel; None if it was built without them."""
    for section in _candidates(kernel):
        found = search(kernel.contents(section.name), section.address)
        if found is not None:
            return found
    return None


def search(data: bytes, address: int, reach: int | None = None) -> Kallsyms | None:
    """The symbols in some part of a kernel, if they are there.

    Args:
        data: What to look through.
        address: Where that is linked.
        reach: How far before the tokens the count may lie; anywhere if not given.
    """
    for tokens_at, tokens, end in _token_tables(data):
        first = max(tokens_at - reach & -8, 0) if reach else 0
        for count_at, count, align in _counts(data, first, tokens_at, tokens):
            named = _names(data, count_at + align, count, tokens_at, tokens, align)
            if named is None:
                continue
            found = _addresses(data, address, count_at, count, end, align)
            if found is not None:
                return Kallsyms(*found, named)
    return None


def _candidates(kernel: Vmlinux) -> list[Section]:
    """Where the table may be: .rodata first, then other data."""
    data = [s for s in kernel.sections if s.allocated and s.in_file and not s.executable and s.size > 4096]
    return sorted(data, key=lambda section: section.name != ".rodata")


def _token_tables(data: bytes) -> Iterator[tuple[int, list[bytes], int]]:
    """Where a token table begins, its tokens, and where its index ends.

    From the digits on, the table is walked to its end. The index behind it, a 16-bit offset for each token,
    says where it began: nothing need mark that place.
    """
    digits = data.find(DIGITS)
    while digits >= 0:
        end = digits
        for _ in range(_TOKENS - ord("0")):
            end = data.find(b"\0", end, end + _LONGEST_TOKEN) + 1 or len(data)
        for align in (4, 8):
            at = _aligned(end, align)
            if at + 2 * _TOKENS <= len(data):
                index = (*struct.unpack_from(f"<{_TOKENS}H", data, at), 0)
                start = digits - index[ord("0")]
                index = (*index[:-1], end - start)
                tokens = [data[start + i : start + j - 1] for i, j in pairwise(index)]
                if b"\0".join(tokens) + b"\0" == data[start:end] and start >= 0:
                    yield start, tokens, at + 2 * _TOKENS
                    break
        digits = data.find(DIGITS, digits + 1)


def _counts(data: bytes, first: int, end: int, tokens: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """Places with a plausible count and behind it plausible names; the count; its alignment."""
    for match in _BASED_COUNT.finditer(data, first, end):  # which needs no look at each word
        place = match.start(1)
        if place % 8 == 0 and _plausible(data, place + 8, tokens):
            yield place, int.from_bytes(match[1], "little"), 8
    words = memoryview(data)[first : end & ~7].cast("I")
    for index, count in enumerate(words[:-8]):
        if _FEWEST <= count <= _MOST:
            place, align = first + 4 * index, 4 if words[index + 1] else 8
            if place % align == 0 and _plausible(data, place + align, tokens):
                yield place, count, align


def _plausible(data: bytes, position: int, tokens: list[bytes]) -> bool:
    """Whether the first names begin with a symbol's type."""
    for _ in range(_MARKED):
        length, position = _length(data, position)
        first = tokens[data[position]] if length else b""
        if not first or first[0] not in _TYPES:
            return False
        position += length
        if position + 3 > len(data):
            return False
    return True


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A name's length in tokens, and where it begins: one byte, or two since 6.1."""
    length = data[position]
    if length & 0x80:
        return length & 0x7F | data[position + 1] << 7, position + 2
    return length, position + 1


def _names(
    data: bytes, position: int, count: int, end: int, tokens: list[bytes], align: int
) -> list[bytes] | None:
    """The names with their types, if markers follow them; else None."""
    start, names, expand, join = position, [], tokens.__getitem__, b"".join
    markers = array("I")
    for number in range(count):
        if not number % _MARKED:
            markers.append(position - start)
        length = data[position]
        position += 1
        if length & 0x80:
            length = length & 0x7F | data[position] << 7
            position += 1
        if not length or position + length > end:
            return None
        names.append(join(map(expand, data[position : position + length])))
        position += length
    at = _aligned(position, align)
    return names if data[at : at + 4 * len(markers)] == markers.tobytes() else None


def _addresses(
    data: bytes, address: int, count_at: int, count: int, tokens_end: int, align: int
) -> tuple[str, list[int]] | None:
    """The layout and the addresses, wherever they lie."""
    size = 4 * count
    base = int.from_bytes(data[count_at - 8 : count_at], "little")
    start = (count_at - 8 - size) & -align
    if base >> 32 == _KERNEL_HALF and start >= 0:
        return "before", _relative_to(base, data[start : start + size])
    start = _aligned(tokens_end, align)
    if start + size > len(data):
        return None
    offsets = data[start : start + size]
    base_at = _aligned(start + size, align)
    base = int.from_bytes(data[base_at : base_at + 8], "little")
    if base >> 32 == _KERNEL_HALF:
        return "after", _relative_to(base, offsets)
    first = address + start
    return "relative", [
        first + 4 * index + distance & _MASK64 for index, distance in enumerate(array("i", offsets))
    ]


def _aligned(position: int, align: int) -> int:
    return position + align - 1 & -align


def _relative_to(base: int, offsets: bytes) -> list[int]:
    """Addresses from offsets; where per-CPU symbols are absolute, all others are negative."""
    signed = array("i", offsets)
    if sum(map((0).__gt__, signed)) * 2 > len(signed):
        return [base - 1 - offset if offset < 0 else offset for offset in signed]
    return [base + (offset & 0xFFFF_FFFF) for offset in signed]
