"""Relocations of x86-64 modules (arch/x86/kernel/module.c: __apply_relocate_add)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RELA = struct.Struct("<QIIq")  # offset, type, symbol, addend
_KERN_ERR = 3
_MASK64 = (1 << 64) - 1


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


class Names(NamedTuple):
    """What messages need: the module's name, and how a pointer prints as %p."""

    module: str
    hash_pointer: Callable[[int], str]


def apply_relocate_add(
    relas: bytes, region: memoryview, base: int, address: int, values: SymbolValues, names: Names
) -> dict[str, int]:
    """Apply one RELA section.

    Args:
        relas: Its contents.
        region: The memory of the region that holds the section to patch, writable.
        base: Virtual address of the region.
        address: Virtual address of the section: offsets count from here.
        values: Symbol values.
        names: For messages.

    Returns:
        How many of each type were applied.

    Raises:
        LoadError: ENOEXEC with the kernel's messages.
        KernelWouldCrash: A place outside the region, or a symbol that does not exist.
    """
    counts: dict[str, int] = {}
    end, delta, target = len(region), address - base, region
    known, symbols = values.known, len(values.known)
    unpack64, unpack32 = struct.Struct("<Q").unpack_from, struct.Struct("<I").unpack_from
    pack64, pack32 = struct.Struct("<Q").pack_into, struct.Struct("<I").pack_into
    kinds = KINDS
    tally: dict[int, int] = {}
    for offset, number, symbol, addend in _RELA.iter_unpack(relas[: len(relas) // _RELA.size * _RELA.size]):
        addend += known[symbol] if symbol < symbols else values.beyond(symbol)
        kind = kinds.get(number)
        if kind is None:
            raise LoadError(
                errno.ENOEXEC, "", (_KERN_ERR, f"module: {names.module}: Unknown rela relocation: {number}")
            )
        tally[number] = tally.get(number, 0) + 1
        size = kind.size
        if not size:
            continue
        offset += delta
        if not 0 <= offset <= end - size:
            offset &= _MASK64
            if offset > end - size:
                raise KernelWouldCrash(base + offset)
        if (unpack32 if size == 4 else unpack64)(target, offset)[0]:
            raise _nonzero(number, base + offset, addend & _MASK64, names)
        value = (addend - (base + offset) if kind.relative else addend) & _MASK64
        if size == 4:
            pack32(target, offset, value & 0xFFFF_FFFF)
            if kind.minimum is not None:
                signed = value - (1 << 64) if value >> 63 and kind.minimum < 0 else value
                if not kind.minimum <= signed <= kind.maximum:
                    raise _overflow(number, value, names)
        else:
            pack64(target, offset, value)
    for number, count in tally.items():
        counts[kinds[number].name] = count
    return counts


def _nonzero(number: int, place: int, value: int, names: Names) -> LoadError:
    return LoadError(
        errno.ENOEXEC,
        "",
        (
            _KERN_ERR,
            "module: x86/modules: Skipping invalid relocation target, existing value is nonzero "
            f"for type {number}, loc {names.hash_pointer(place)}, val {value:x}",
        ),
    )


def _overflow(number: int, value: int, names: Names) -> LoadError:
    return LoadError(
        errno.ENOEXEC,
        "",
        (_KERN_ERR, f"module: overflow in relocation type {number} val {value:x}"),
        (_KERN_ERR, f"module: `{names.module}' likely not compiled with -mcmodel=kernel"),
    )
