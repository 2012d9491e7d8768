"""Values of C types: in memory, in a register, or computed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from kmod_emu.debug.c.types import (
    Array,
    CType,
    Enum,
    Float,
    Function,
    Integer,
    Pointer,
)
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.c.types import Field

__all__ = ["DebugError", "MemoryAccess", "Value", "encode", "number_type"]


class DebugError(Exception):
    """What a command is refused with, in gdb's words."""


class MemoryAccess(Protocol):
    """Guest memory."""

    def read(self, address: int, size: int, /) -> bytes:
        """Bytes; raises PageFault."""

    def write(self, address: int, data: bytes, /) -> None:
        """Change bytes; raises PageFault."""


class Value:
    """A value; what lies in memory is read when it is looked at.

    Args:
        kind: Its type.
        content: Its bytes, where it is not in memory.
        address: Where it lies.
        memory: What it lies in.
        field: For a bit-field: which bits of the storage unit at `address`.
        store: Changes it, where it lies in a register or the like.
        register: The register that it is in.
        lost: Why there is no value, in gdb's words: "optimized out", "synthetic pointer".
    """

    def __init__(
        self,
        kind: CType,
        content: bytes | None = None,
        *,
        address: int | None = None,
        memory: MemoryAccess | None = None,
        field: Field | None = None,
        store: Callable[[bytes], None] | None = None,
        register: str = "",
        lost: str = "",
    ) -> None:
        self.type, self.address, self.memory, self.field = kind, address, memory, field
        self.lost, self.register, self._content, self._store = lost, register, content, store

    @classmethod
    def of(cls, kind: CType, number: float) -> Value:
        """A number of some type."""
        return cls(kind, encode(kind, number))

    @property
    def content(self) -> bytes:
        """Its bytes.

        Raises:
            DebugError: They cannot be read, or it is optimized out.
        """
        if self._content is None:
            if self.lost or self.address is None or self.memory is None:
                raise DebugError(f"value has been {self.lost or 'optimized out'}")
            self._content = self.read(self.address, self.type.size)
        return self._content

    def read(self, address: int, size: int) -> bytes:
        """Guest memory; DebugError where there is none."""
        if self.memory is None:
            raise DebugError(f"Cannot access memory at address {address:#x}")
        try:
            return self.memory.read(address, size)
        except PageFault as fault:
            raise DebugError(f"Cannot access memory at address {fault.address:#x}") from None

    @property
    def bare(self) -> CType:
        """Its type without typedefs and qualifiers."""
        return self.type.bare

    def number(self) -> int | float:
        """The number that it is; a pointer's and an array's is the address.

        Raises:
            DebugError: It is none.
        """
        bare = self.bare
        if isinstance(bare, (Array, Function)) and self.address is not None:
            return self.address
        if isinstance(bare, Float):
            if bare.size not in (4, 8):
                raise DebugError("Unhandled floating-point size")
            return float(struct.unpack("<f" if bare.size == 4 else "<d", self.content)[0])
        if not isinstance(bare, (Integer, Enum, Pointer)):
            raise DebugError("Argument to arithmetic operation not a number or boolean.")
        raw = int.from_bytes(self.content, "little")
        if self.field is not None and self.field.bits:
            raw = raw >> self.field.bit & (1 << self.field.bits) - 1
            if is_signed(bare) and raw >> (self.field.bits - 1):
                raw -= 1 << self.field.bits
            return raw
        return raw - (1 << 8 * bare.size) if is_signed(bare) and raw >> (8 * bare.size - 1) else raw

    def integer(self) -> int:
        """The integer that it is, cut off from a floating-point number."""
        return int(self.number())

    def select(self, field: Field) -> Value:
        """One of our members."""
        size = field.type.size
        if self.address is not None:
            return Value(field.type, address=self.address + field.offset, memory=self.memory, field=field)
        return Value(
            field.type, self.content[field.offset : field.offset + size], memory=self.memory, field=field
        )

    def element(self, index: int) -> Value:
        """One of our elements."""
        bare = self.bare
        assert isinstance(bare, Array)
        size = bare.element.size
        if self.address is not None:
            return Value(bare.element, address=self.address + index * size, memory=self.memory)
        part = self.content[index * size : (index + 1) * size]
        if len(part) < size or index < 0:
            raise DebugError("no such vector element")
        return Value(bare.element, part, memory=self.memory)

    def target(self) -> Value:
        """What we point to.

        Raises:
            DebugError: We are no pointer, or one to something of no known size.
        """
        bare = self.bare
        if isinstance(bare, Pointer):
            return Value(bare.target, address=self.integer() & (1 << 64) - 1, memory=self.memory)
        if isinstance(bare, Array):
            return self.element(0)
        if isinstance(bare, Function):
            return self
        if isinstance(bare, Integer):  # gdb follows numbers too
            return Value(
                Integer("long", 8, signed=True), address=self.integer() & (1 << 64) - 1, memory=self.memory
            )
        raise DebugError("Attempt to take contents of a non-pointer value.")

    @property
    def is_lvalue(self) -> bool:
        """Whether it can be changed."""
        return self.address is not None or self._store is not None

    def store(self, data: bytes) -> None:
        """Change it.

        Raises:
            DebugError: It is no place, or memory that is not there.
        """
        if self.field is not None and self.field.bits:
            mask = (1 << self.field.bits) - 1
            old = int.from_bytes(self.content, "little") & ~(mask << self.field.bit)
            new = old | (int.from_bytes(data, "little") & mask) << self.field.bit
            data = new.to_bytes(self.type.size, "little")
        if self._store is not None:
            self._store(data)
        elif self.address is None or self.memory is None:
            raise DebugError("Left operand of assignment is not an lvalue.")
        else:
            try:
                self.memory.write(self.address, data)
            except PageFault as fault:
                raise DebugError(f"Cannot access memory at address {fault.address:#x}") from None
        self._content = data


def is_signed(kind: CType) -> bool:
    """Whether numbers of a type may be negative."""
    return isinstance(kind, (Integer, Enum)) and kind.signed


def number_type(kind: CType) -> Integer | Float | None:
    """The arithmetic type that a type counts as; None for none."""
    bare = kind.bare
    if isinstance(bare, Enum):
        return bare.integer
    return bare if isinstance(bare, (Integer, Float)) else None


def encode(kind: CType, number: float) -> bytes:
    """The bytes of a number in a type."""
    bare = kind.bare
    if isinstance(bare, Float):
        return struct.pack("<f" if bare.size == 4 else "<d", float(number))
    integer = int(number)
    if isinstance(bare, Integer):
        integer = bare.cut(integer)
    return (integer & (1 << 8 * kind.size) - 1).to_bytes(kind.size, "little")
