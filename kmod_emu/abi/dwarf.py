"""Structure layouts from DWARF, the debug information that a module built with -g carries of its kernel."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from kmod_emu.abi.layout import Member, StructLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from elftools.dwarf.die import DIE
    from elftools.elf.elffile import ELFFile

__all__ = ["DwarfLayouts", "units"]

_COMPOUND = ("DW_TAG_structure_type", "DW_TAG_union_type")
_ALIASES = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type")
_DEPTH = 64


def units(dwarf: Any) -> Iterator[Any]:
    """The compilation units of a file that may be damaged: a sibling that lies before it ends a row."""
    for unit in dwarf.iter_CUs():
        if not isinstance(unit.iter_DIE_children, partial):
            unit.iter_DIE_children = partial(_forwards, unit.iter_DIE_children)
        yield unit


def _forwards(children: Callable[[DIE], Iterator[DIE]], die: DIE) -> Iterator[DIE]:
    last = die.offset
    for child in children(die):
        if child.offset <= last:
            return
        last = child.offset
        yield child


class DwarfLayouts:
    """The structures that an ELF file describes; reading takes some tenths of a second, when first asked.

    A damaged file has no structures, or fewer: debug information is an aid, and nothing depends on it alone.
    """

    def __init__(self, elf: ELFFile) -> None:
        self._elf = elf

    @cached_property
    def names(self) -> dict[str, DIE]:
        """Tag -> its description, of structures and unions that are complete."""
        found: dict[str, DIE] = {}
        try:
            if not self._elf.has_dwarf_info():
                return found
            for unit in units(self._elf.get_dwarf_info()):
                for die in unit.get_top_DIE().iter_children():
                    if die.tag in _COMPOUND and "DW_AT_byte_size" in die.attributes:
                        name = _name(die)
                        if name:
                            found.setdefault(name, die)
        except Exception:  # whatever pyelftools meets in a damaged file
            return found
        return found

    def layout(self, name: str, release: str = "") -> StructLayout | None:
        """The layout of a structure or union by its tag; None if it is not described, or not well."""
        die = self.names.get(name)
        if die is None:
            return None
        try:
            return StructLayout(name, _number(die, "DW_AT_byte_size"), dict(_members(die)), release)
        except Exception:  # as above
            return None


def _name(die: DIE) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "backslashreplace") if attribute else ""


def _number(die: DIE, attribute: str, default: int = 0) -> int:
    found = die.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else default


def _members(die: DIE, base: int = 0, depth: int = 0) -> Iterator[tuple[str, Member]]:
    """Name and place of each member; inner structures without a name give theirs."""
    if depth > _DEPTH:
        raise ValueError("a structure that contains itself")
    for member in die.iter_children():
        if member.tag != "DW_TAG_member":
            continue
        name, kind = _name(member), _type(member)
        offset = base + _number(member, "DW_AT_data_member_location")
        if not name:
            if kind is not None and kind.tag in _COMPOUND:
                yield from _members(kind, offset, depth + 1)
            continue
        size = _size(kind)
        bits = _number(member, "DW_AT_bit_size")
        if bits:
            where = _number(member, "DW_AT_data_bit_offset")
            unit = where // (8 * size) * size
            yield name, Member(base + unit, size, where - 8 * unit, bits)
        else:
            yield name, Member(offset, size)


def _type(die: DIE) -> DIE | None:
    """The type of a member, behind typedefs and qualifiers."""
    for _ in range(_DEPTH):
        if "DW_AT_type" not in die.attributes:
            return None
        die = die.get_DIE_from_attribute("DW_AT_type")
        if die.tag not in _ALIASES:
            return die
    raise ValueError("a type that refers to itself")


def _size(kind: Any, depth: int = 0) -> int:
    if kind is None or depth > _DEPTH:
        return 0
    if kind.tag != "DW_TAG_array_type":
        return _number(kind, "DW_AT_byte_size")
    size = _size(_type(kind), depth + 1)
    for dimension in kind.iter_children():
        if dimension.tag == "DW_TAG_subrange_type":
            size *= _number(dimension, "DW_AT_count", _number(dimension, "DW_AT_upper_bound", -1) + 1)
    return size
