"""Typed views on structures in guest memory, by a kernel profile's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.html import table

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Member, StructLayout
    from kmod_emu.machine.memory import Memory

    Bytes = bytes  # in the class below, `bytes` is a method

__all__ = ["StructView", "container_of"]


class StructView:
    """A structure at an address of guest memory; its members are attributes.

    Reading a member of 1, 2, 4 or 8 bytes gives an unsigned integer, assigning writes one (cut to the
    member's size, so -1 may be written). Other members, and bit-fields, have methods of their own. A member
    that shares its name with a method or attribute of this class is reached by `get` and `set`.

    Args:
        memory: Guest memory; its PageFault passes through every access.
        layout: The structure's layout, from `Profile.struct`.
        address: Where it lies.

    Raises:
        AttributeError: Access to a member that the structure does not have in this release.
        TypeError: A member that is not an integer was read or assigned as one.
    """

    __slots__ = ("address", "layout", "memory")

    memory: Memory
    layout: StructLayout
    address: int

    def __init__(self, memory: Memory, layout: StructLayout, address: int) -> None:
        object.__setattr__(self, "memory", memory)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "address", address)

    def __repr__(self) -> str:
        return f"<struct {self.layout.name} at {self.address:#x}>"

    def _repr_html_(self) -> str:
        """For notebooks: each member, and its bytes as a number where it is one."""
        rows: list[tuple[object, ...]] = []
        for name, member in sorted(self.layout.members.items(), key=lambda item: item[1].offset):
            if member.bit is not None:
                rows.append((f"{member.offset:#x}", name, f"{member.bits} bits", self.field(name)))
            elif member.size in (1, 2, 4, 8):
                rows.append((f"{member.offset:#x}", name, member.size, f"{self.get(name):#x}"))
            else:
                rows.append((f"{member.offset:#x}", name, member.size, ""))
        title = f"struct {self.layout.name} at {self.address:#x}"
        return table(title, ("offset", "member", "bytes", "value"), rows)

    def __getattr__(self, name: str) -> int:
        return self.get(name)

    def __setattr__(self, name: str, value: int) -> None:
        if name in StructView.__slots__:
            raise AttributeError(
                f"{name} of a view is fixed; use set({name!r}, ...) for a member of that name"
            )
        self.set(name, value)

    def get(self, name: str) -> int:
        """The unsigned integer in a member."""
        member = self._member(name)
        address, size = self.address + member.offset, member.size
        if member.bit is None:
            if size == 8:
                return self.memory.read_u64(address)
            if size == 4:
                return self.memory.read_u32(address)
            if size == 2:
                return self.memory.read_u16(address)
            if size == 1:
                return self.memory.read_u8(address)
        raise self._no_integer(name, member)

    def set(self, name: str, value: int) -> None:
        """Write an integer into a member, cut to its size."""
        member = self._member(name)
        address, size = self.address + member.offset, member.size
        if member.bit is not None or size not in (1, 2, 4, 8):
            raise self._no_integer(name, member)
        value &= (1 << 8 * size) - 1
        if size == 8:
            self.memory.write_u64(address, value)
        elif size == 4:
            self.memory.write_u32(address, value)
        elif size == 2:
            self.memory.write_u16(address, value)
        else:
            self.memory.write_u8(address, value)

    def signed(self, name: str) -> int:
        """The signed integer in a member."""
        value = self.get(name)
        bits = 8 * self.layout.members[name].size
        return value - (1 << bits) if value >> (bits - 1) else value

    def has(self, name: str) -> bool:
        """Whether the structure has this member in this release."""
        return name in self.layout.members

    def addressof(self, name: str) -> int:
        """The guest address of a member."""
        return self.address + self._member(name).offset

    def bytes(self, name: str) -> Bytes:
        """All bytes of a member."""
        member = self._member(name)
        return self.memory.read(self.address + member.offset, member.size)

    def set_bytes(self, name: str, data: Bytes) -> None:
        """Fill a member: data, then zeros; ValueError if the data is longer than the member."""
        member = self._member(name)
        if len(data) > member.size:
            raise ValueError(
                f"{len(data)} bytes do not fit in struct {self.layout.name}.{name} of {member.size} bytes"
            )
        self.memory.write(self.address + member.offset, data.ljust(member.size, b"\0"))

    def text(self, name: str) -> str:
        """The text in a char array, up to its first NUL or, without one, its end."""
        return self.bytes(name).partition(b"\0")[0].decode("utf-8", "backslashreplace")

    def bit(self, name: str) -> bool:
        """The lowest bit of a bit-field (its only one, for flags)."""
        address, mask = self._bit(name)
        return bool(self.memory.read_u8(address) & mask)

    def set_bit(self, name: str, on: bool) -> None:
        """Set or clear the lowest bit of a bit-field."""
        address, mask = self._bit(name)
        old = self.memory.read_u8(address)
        self.memory.write_u8(address, old | mask if on else old & ~mask & 0xFF)

    def field(self, name: str) -> int:
        """The value of a bit-field, unsigned."""
        address, unit, bit, mask = self._field(name)
        return int.from_bytes(self.memory.read(address, unit), "little") >> bit & mask

    def set_field(self, name: str, value: int) -> None:
        """Set a bit-field; what does not fit is cut off."""
        address, unit, bit, mask = self._field(name)
        old = int.from_bytes(self.memory.read(address, unit), "little")
        self.memory.write(address, (old & ~(mask << bit) | (value & mask) << bit).to_bytes(unit, "little"))

    def _field(self, name: str) -> tuple[int, int, int, int]:
        """Address and bytes of its storage unit, its lowest bit in there, the mask of its width."""
        member = self._member(name)
        if member.bit is None or member.bits is None:
            raise TypeError(f"struct {self.layout.name}.{name} is no bit-field")
        return self.address + member.offset, member.size, member.bit, (1 << member.bits) - 1

    def number(self, name: str) -> int:
        """The value of a member that is a bit-field in some releases."""
        return self.get(name) if self._member(name).bit is None else self.field(name)

    def set_number(self, name: str, value: int) -> None:
        """Set such a one."""
        (self.set if self._member(name).bit is None else self.set_field)(name, value)

    def inner(self, name: str, layout: StructLayout) -> StructView:
        """A view on a member that is itself a structure; ValueError if it is smaller than the layout."""
        member = self._member(name)
        if layout.size > member.size:
            raise ValueError(f"struct {layout.name} is larger than struct {self.layout.name}.{name}")
        return StructView(self.memory, layout, self.address + member.offset)

    def _member(self, name: str) -> Member:
        member = self.layout.members.get(name)
        if member is None:
            where = f" in {self.layout.release}" if self.layout.release else ""
            raise AttributeError(f"struct {self.layout.name} has no member {name}{where}")
        return member

    def _bit(self, name: str) -> tuple[int, int]:
        """Address and mask of a bit. Only its own byte: a packed structure may end within the unit."""
        member = self._member(name)
        if member.bit is None:
            raise TypeError(f"struct {self.layout.name}.{name} is not a bit-field")
        return self.address + member.offset + member.bit // 8, 1 << member.bit % 8

    def _no_integer(self, name: str, member: Member) -> TypeError:
        if member.bit is not None:
            return TypeError(f"struct {self.layout.name}.{name} is a bit-field: use .bit({name!r})")
        return TypeError(
            f"struct {self.layout.name}.{name} of {member.size} bytes is not an integer: use .bytes({name!r})"
        )


def container_of(layout: StructLayout, member: str, address: int) -> int:
    """The address of the structure that holds a member at `address`; KeyError if it has no such member.

    >>> from kmod_emu.abi.profile import load
    >>> hex(container_of(load("6.1").struct("module"), "list", 0xFFFFFFFFC0002008))
    '0xffffffffc0002000'
    """
    return address - layout.offset(member)
