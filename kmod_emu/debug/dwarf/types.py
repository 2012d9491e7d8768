"""C types from DWARF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.dwarf.dies import name_of, number_of, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elftools.dwarf.die import DIE

__all__ = ["AGGREGATES", "TypeReader", "type_key"]

AGGREGATES = {"DW_TAG_structure_type": "struct", "DW_TAG_union_type": "union"}
_QUALIFIERS = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "_Atomic",
}
_BOOLEAN, _FLOAT, _SIGNED, _SIGNED_CHAR, _UNSIGNED, _UNSIGNED_CHAR = 2, 4, 5, 6, 7, 8


def type_key(die: DIE) -> str | None:
    """What a type is looked up by, "struct file" or "size_t"; None for what has no name."""
    name = name_of(die)
    if not name:
        return None
    if die.tag in AGGREGATES:
        return f"{AGGREGATES[die.tag]} {name}"
    if die.tag == "DW_TAG_enumeration_type":
        return f"enum {name}"
    return name if die.tag in ("DW_TAG_typedef", "DW_TAG_base_type") else None


class TypeReader:
    """Makes types of entries; one object for each entry."""

    def __init__(self) -> None:
        self._known: dict[int, c.CType] = {}

    def type_of(self, die: DIE) -> c.CType:
        """The type that an entry has; void where it says none."""
        kind = reference_of(die, "DW_AT_type")
        return c.VOID if kind is None else self.read(kind)

    def read(self, die: DIE) -> c.CType:
        """The type that an entry describes."""
        found = self._known.get(die.offset)
        if found is None:
            found = self._known[die.offset] = self._read(die)
        return found

    def _read(self, die: DIE) -> c.CType:
        tag = die.tag
        if tag == "DW_TAG_base_type":
            return _basic(die)
        if tag == "DW_TAG_pointer_type":
            return c.Pointer(self.type_of(die))
        if tag in _QUALIFIERS:
            return c.Qualified(_QUALIFIERS[tag], self.type_of(die))
        if tag == "DW_TAG_typedef":
            return c.Typedef(name_of(die), self.type_of(die))
        if tag in AGGREGATES:
            size = None if "DW_AT_declaration" in die.attributes else number_of(die, "DW_AT_byte_size")
            return c.Aggregate(AGGREGATES[tag], name_of(die), size, lambda: tuple(self._fields(die)))
        if tag == "DW_TAG_array_type":
            return self._array(die)
        if tag == "DW_TAG_enumeration_type":
            return _enumeration(die)
        if tag in ("DW_TAG_subroutine_type", "DW_TAG_subprogram"):
            return self._function(die)
        return c.VOID

    def _fields(self, die: DIE) -> Iterator[c.Field]:
        for member in die.iter_children():
            if member.tag != "DW_TAG_member":
                continue
            kind = self.type_of(member)
            offset, bits = (
                number_of(member, "DW_AT_data_member_location"),
                number_of(member, "DW_AT_bit_size"),
            )
            if not bits:
                yield c.Field(name_of(member), kind, offset)
                continue
            if "DW_AT_data_bit_offset" in member.attributes:
                where = number_of(member, "DW_AT_data_bit_offset")
            else:  # DWARF 3: from the most significant bit of a storage unit
                unit = number_of(member, "DW_AT_byte_size", kind.size)
                where = 8 * (offset + unit) - number_of(member, "DW_AT_bit_offset") - bits
            start = where // (8 * kind.size) * kind.size if kind.size else 0
            yield c.Field(name_of(member), kind, start, where - 8 * start, bits)

    def _array(self, die: DIE) -> c.CType:
        counts = [_count(child) for child in die.iter_children() if child.tag == "DW_TAG_subrange_type"]
        kind = self.type_of(die)
        for count in reversed(counts):
            kind = c.Array(kind, count)
        return kind

    def _function(self, die: DIE) -> c.Function:
        parameters, variadic = [], False
        for child in die.iter_children():
            if child.tag == "DW_TAG_formal_parameter":
                parameters.append(self.type_of(child))
            elif child.tag == "DW_TAG_unspecified_parameters":
                variadic = True
        prototyped = "DW_AT_prototyped" in die.attributes or bool(parameters)
        if not prototyped and "DW_AT_abstract_origin" in die.attributes:
            return self._function(die.get_DIE_from_attribute("DW_AT_abstract_origin"))
        return c.Function(self.type_of(die), parameters if prototyped else None, variadic=variadic)


def _basic(die: DIE) -> c.CType:
    name, size = name_of(die), number_of(die, "DW_AT_byte_size")
    encoding = number_of(die, "DW_AT_encoding")
    if encoding == _FLOAT:
        return c.Float(name, size)
    if encoding == _BOOLEAN:
        return c.Integer(name, size, signed=False, kind="bool")
    usual = c.integer_named(name.split())
    if isinstance(usual, c.Integer) and usual.size == size:
        return usual
    kind = "char" if encoding in (_SIGNED_CHAR, _UNSIGNED_CHAR) else "int"
    return c.Integer(name, size, signed=encoding in (_SIGNED, _SIGNED_CHAR), kind=kind)


def _enumeration(die: DIE) -> c.Enum:
    values = {
        name_of(child): number_of(child, "DW_AT_const_value")
        for child in die.iter_children()
        if child.tag == "DW_TAG_enumerator"
    }
    signed = any(value < 0 for value in values.values())
    return c.Enum(name_of(die), number_of(die, "DW_AT_byte_size", 4), values, signed=signed)


def _count(subrange: DIE) -> int | None:
    if "DW_AT_count" in subrange.attributes:
        return number_of(subrange, "DW_AT_count")
    bound = subrange.attributes.get("DW_AT_upper_bound")
    return bound.value + 1 if bound is not None and isinstance(bound.value, int) else None
