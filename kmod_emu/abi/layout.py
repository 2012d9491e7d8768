"""Where the members of a structure lie: what profiles, BTF and DWARF all answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Member", "StructLayout"]


class Member(NamedTuple):
    """Where a member lies in its structure.

    Attributes:
        offset: Bytes from the structure's start.
        size: Bytes; for a bit-field, of the storage unit at `offset`.
        bit: A bit-field's lowest bit in that unit, None for an ordinary member.
        bits: A bit-field's width, None for an ordinary member.
    """

    offset: int
    size: int
    bit: int | None = None
    bits: int | None = None


class StructLayout(NamedTuple):
    """The layout of one structure in one release.

    Attributes:
        name: Its tag, without "struct".
        size: sizeof, in bytes.
        members: By name, those of anonymous inner structures and unions included.
        release: The kernel release it belongs to.
    """

    name: str
    size: int
    members: Mapping[str, Member]
    release: str = ""

    def offset(self, member: str) -> int:
        """The offset of a member in bytes; KeyError if there is no such member."""
        try:
            return self.members[member].offset
        except KeyError:
            where = f" in {self.release}" if self.release else ""
            raise KeyError(f"struct {self.name} has no member {member}{where}") from None
