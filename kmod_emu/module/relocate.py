"""Relocations of x86-64 modules (arch/x86/kernel/module.c: __apply_relocate_add)."""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.module.traits import Traits

_RELA = struct.Struct("<QIIq")  # offset, type, symbol, addend
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_KERN_ERR = 3
_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
_TOP_2_GIB = (1 << 64) - (1 << 31)


class Kind(NamedTuple):
    """One relocation type.

    Attributes:
        name: As in the psABI.
        size: Bytes written; 0 writes nothing.
        relative: Whether the place's address is subtracted.
        minimum: Smallest value that fits, None for no check.
        maximum: Largest value that fits.
    """

    name: str
    size: int
    relative: bool = False
    minimum: int | None = None
    maximum: int = 0

    @property
    def formula(self) -> str:
        """How the value is computed."""
        return "S + A - P" if self.relative else "S + A"

    def fits(self, value: int) -> bool:
        """Whether a 64-bit value is what the bytes written will be taken for."""
        if self.minimum is None:
            return True
        signed = value - (1 << 64) if value >> 63 and self.minimum < 0 else value
        return self.minimum <= signed <= self.maximum


# Every type that the kernel applies. It refuses the others: GOT, TLS, COPY, the 8- and 16-bit ones.
KINDS = {
    0: Kind("R_X86_64_NONE", 0),
    1: Kind("R_X86_64_64", 8),
    2: Kind("R_X86_64_PC32", 4, relative=True),
    4: Kind("R_X86_64_PLT32", 4, relative=True),
    10: Kind("R_X86_64_32", 4, minimum=0, maximum=(1 << 32) - 1),
    11: Kind("R_X86_64_32S", 4, minimum=-(1 << 31), maximum=(1 << 31) - 1),
    24: Kind("R_X86_64_PC64", 8, relative=True),
}


class SymbolValues(NamedTuple):
    """Values by symbol index.

    Attributes:
        known: Of the symbols that exist.
        beyond: For an index behind the table: what lies there in memory, or KernelWouldCrash.
    """

    known: Sequence[int]
    beyond: Callable[[int], int]


class Complaints(NamedTuple):
    """What a section's relocations are refused with.

    Attributes:
        module: The module's name.
        hash_pointer: How a pointer prints as %p.
        traits: Of the release; None is 6.1.
        section: Index of the relocation section.
    """

    module: str
    hash_pointer: Callable[[int], str]
    traits: Traits | None = None
    section: int = 0

    @property
    def checks_range_first(self) -> bool:
        """Whether an overflow is found before anything is looked at or written."""
        return self.traits is not None and self.traits.early

    def unknown(self, number: int) -> LoadError:
        """No type that modules may have."""
        return self._refuse(f"module: {self.module}: Unknown rela relocation: {number}")

    def nonzero(self, number: int, place: int, value: int, index: int) -> LoadError:
        """Something is there already."""
        where = f"for type {number}, loc {self.hash_pointer(place)}, val {value:x}"
        what = "Skipping invalid relocation target"
        if self.checks_range_first:
            what = "Invalid relocation target"
        if self.traits is not None and self.traits.flagged:
            where = f"for sec {self.section}, idx {index}, type {number}, loc {place:x}, val {value:x}"
        return self._refuse(f"module: x86/modules: {what}, existing value is nonzero {where}")

    def overflow(self, number: int, value: int, index: int) -> LoadError:
        """The value does not fit."""
        where = f" sec {self.section} idx {index}" if self.traits is not None and self.traits.flagged else ""
        return self._refuse(
            f"module: overflow in relocation type {number} val {value:x}{where}",
            f"module: `{self.module}' likely not compiled with -mcmodel=kernel",
        )

    @staticmethod
    def _refuse(*lines: str) -> LoadError:
        return LoadError(errno.ENOEXEC, "", *((_KERN_ERR, line) for line in lines))


class Target(NamedTuple):
    """The memory that a relocation section patches.

    Attributes:
        region: Bytes of the region that holds the section to patch, writable.
        base: Virtual address of the region.
        address: Virtual address of the section: offsets count from here.
    """

    region: memoryview
    base: int
    address: int


def apply_relocate_add(
    relas: bytes, target: Target, values: SymbolValues, complaints: Complaints
) -> dict[str, int]:
    """Apply one RELA section.

    Args:
        relas: Its contents.
        target: What it patches.
        values: Symbol values.
        complaints: For messages.

    Returns:
        How many of each type were applied.

    Raises:
        LoadError: ENOEXEC with the kernel's messages.
        KernelWouldCrash: A place outside the region, or a symbol that does not exist.
    """
    relas = relas[: len(relas) // _RELA.size * _RELA.size]
    memory, base, known = target.region, target.base, values.known
    delta = target.address - base
    read32, write32 = _U32.unpack_from, _U32.pack_into
    read64, write64 = _U64.unpack_from, _U64.pack_into
    for index, (offset, number, symbol, addend) in enumerate(_RELA.iter_unpack(relas)):
        # The usual ones right here: they make up all of most modules. What is odd about one of them, be it
        # out of the region or negative, is left to _apply.
        if number in (2, 4, 11, 1):
            place = offset + delta
            try:
                value = known[symbol] + addend
                if number == 1:
                    if not read64(memory, place)[0]:
                        write64(memory, place, value & _MASK64)
                        continue
                elif not read32(memory, place)[0]:
                    if number != 11:
                        write32(memory, place, value - base - place & _MASK32)
                        continue
                    if _TOP_2_GIB <= value <= _MASK64:
                        write32(memory, place, value & _MASK32)
                        continue
            except (IndexError, OverflowError, struct.error):
                pass
        _apply(Rela(offset, number, symbol, addend, index), target, values, complaints)
    counts = Counter(memoryview(relas).cast("I")[2::6].tolist())
    return {KINDS[number].name: count for number, count in counts.items()}


class Rela(NamedTuple):
    """One relocation, and its position in its section."""

    offset: int
    number: int
    symbol: int
    addend: int
    position: int


def _apply(rela: Rela, target: Target, values: SymbolValues, complaints: Complaints) -> None:
    """Apply one relocation of any type, with all checks."""
    known = values.known
    wanted = (known[rela.symbol] if rela.symbol < len(known) else values.beyond(rela.symbol)) + rela.addend
    number, kind = rela.number, KINDS.get(rela.number)
    if kind is None:
        raise complaints.unknown(number)
    size = kind.size
    if not size:
        return
    offset = rela.offset + target.address - target.base
    if not 0 <= offset <= len(target.region) - size:
        offset &= _MASK64
        if offset > len(target.region) - size:
            raise KernelWouldCrash(target.base + offset)
    place = target.base + offset
    value = (wanted - place if kind.relative else wanted) & _MASK64
    fits = kind.fits(value)
    first = complaints.checks_range_first
    if first and not fits:
        raise complaints.overflow(number, value, rela.position)
    if any(target.region[offset : offset + size]):
        raise complaints.nonzero(number, place, value if first else wanted & _MASK64, rela.position)
    target.region[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    if not fits:
        raise complaints.overflow(number, value, rela.position)
