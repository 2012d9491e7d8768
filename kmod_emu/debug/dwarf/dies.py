"""Reading attributes of DWARF entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elftools.dwarf.die import DIE

Ranges = list[tuple[int, int]]

_HOPS = 8
_RANGE_FORMS = ("DW_FORM_rnglistx", "DW_FORM_sec_offset", "DW_FORM_data4", "DW_FORM_data8")


def name_of(die: DIE) -> str:
    """Its name, "" for none."""
    attribute = attribute_of(die, "DW_AT_name")
    return attribute.value.decode("utf-8", "backslashreplace") if attribute is not None else ""


def attribute_of(die: DIE, name: str) -> Any:
    """An attribute: its own, or of the entry that it is an instance or completion of."""
    return _find(die, name)[1]


def number_of(die: DIE, name: str, default: int = 0) -> int:
    """An integer attribute."""
    value = getattr(attribute_of(die, name), "value", None)
    return value if isinstance(value, int) else default


def reference_of(die: DIE, name: str) -> DIE | None:
    """The entry that an attribute refers to."""
    owner, attribute = _find(die, name)
    return owner.get_DIE_from_attribute(name) if attribute is not None else None


def origin_of(die: DIE) -> DIE:
    """The entry that this one is an instance of, or itself."""
    for _ in range(_HOPS):
        if "DW_AT_abstract_origin" not in die.attributes:
            break
        die = die.get_DIE_from_attribute("DW_AT_abstract_origin")
    return die


def _find(die: DIE, name: str) -> tuple[DIE, Any]:
    for _ in range(_HOPS):
        if name in die.attributes:
            return die, die.attributes[name]
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in die.attributes:
                die = die.get_DIE_from_attribute(link)
                break
        else:
            break
    return die, None


def ranges_of(die: DIE) -> Ranges:
    """The code that an entry covers: (start, end) each."""
    if "DW_AT_low_pc" in die.attributes and "DW_AT_high_pc" in die.attributes:
        low, high = die.attributes["DW_AT_low_pc"].value, die.attributes["DW_AT_high_pc"]
        end = high.value if high.form == "DW_FORM_addr" else low + high.value
        return [(low, end)]
    attribute = die.attributes.get("DW_AT_ranges")
    if attribute is None or attribute.form not in _RANGE_FORMS:
        return []
    return [(start, end) for start, end in _listed(die, attribute.value) if start < end]


def _listed(die: DIE, offset: int) -> Iterator[tuple[int, int]]:
    lists = die.dwarfinfo.range_lists()
    if lists is None:
        return
    base = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    start = base.value if base is not None else 0
    for entry in lists.get_range_list_at_offset(offset, cu=die.cu):
        if hasattr(entry, "base_address"):
            start = entry.base_address
            continue
        shift = 0 if getattr(entry, "is_absolute", False) else start
        yield entry.begin_offset + shift, entry.end_offset + shift


def covers(ranges: Ranges, address: int) -> bool:
    """Whether an address is in some ranges."""
    return any(start <= address < end for start, end in ranges)
