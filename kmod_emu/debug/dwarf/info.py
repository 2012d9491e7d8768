"""What the debug information of one loaded module says: types, variables, functions, lines, frames."""

from __future__ import annotations

import io
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.abi.dwarf import units
from kmod_emu.debug.dwarf.dies import (
    Ranges,
    covers,
    name_of,
    number_of,
    origin_of,
    ranges_of,
)
from kmod_emu.debug.dwarf.lines import LineIndex, LineRow, file_names, rows_of
from kmod_emu.debug.dwarf.relocate import relocate_debug_sections
from kmod_emu.debug.dwarf.types import TypeReader, type_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from elftools.dwarf.die import DIE

    from kmod_emu.debug.c.types import CType

__all__ = ["DebugInfo", "FrameTable", "FunctionScope"]


class FunctionScope(NamedTuple):
    """A function, or an inlined copy of one, at an address in it.

    Attributes:
        die: Its entry: DW_TAG_subprogram or DW_TAG_inlined_subroutine.
        blocks: The entries that hold its variables at that address, outermost first; `die` is the first.
    """

    die: DIE
    blocks: list[DIE]

    @property
    def name(self) -> str:
        """The function's name."""
        return name_of(origin_of(self.die)) or name_of(self.die)

    @property
    def is_inlined(self) -> bool:
        """Whether it has no frame of its own."""
        return bool(self.die.tag == "DW_TAG_inlined_subroutine")

    @property
    def ranges(self) -> Ranges:
        """Its code."""
        return ranges_of(self.die)

    @property
    def entry(self) -> int:
        """Its first instruction; as in gdb, of an inlined copy the start of its first range."""
        return self.ranges[0][0]

    def variables(self, *, parameters: bool) -> Iterator[tuple[str, DIE]]:
        """Parameters or locals by name, innermost block first."""
        tag = "DW_TAG_formal_parameter" if parameters else "DW_TAG_variable"
        for block in self.blocks[:1] if parameters else reversed(self.blocks):
            for child in _members(block):
                if child.tag == tag and (name := name_of(child)):
                    yield name, child

    def calls(self) -> Iterator[DIE]:
        """The call sites in it, those of inlined functions included."""
        yield from _descend(self.die, "DW_TAG_call_site", "DW_TAG_GNU_call_site")


def _descend(die: DIE, *tags: str) -> Iterator[DIE]:
    for child in die.iter_children():
        if child.tag in tags:
            yield child
        elif child.tag in ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine"):
            yield from _descend(child, *tags)


class FrameTable:
    """Call frame information: .debug_frame."""

    def __init__(self, dwarf: Any) -> None:
        entries = dwarf.CFI_entries() if dwarf.has_CFI() else []
        self._entries = sorted(
            ((entry["initial_location"], entry) for entry in entries if "initial_location" in entry.header),
            key=lambda pair: pair[0],
        )
        self._starts = [start for start, _ in self._entries]

    def rules(self, address: int) -> Mapping[Any, Any] | None:
        """What holds at an address: `cfa`, and registers by DWARF number; None where it says nothing."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._starts[index] + self._entries[index][1]["address_range"]:
            return None
        found: Mapping[Any, Any] | None = None
        for row in self._entries[index][1].get_decoded().table:
            if row["pc"] > address:
                break
            found = row
        return found


class DebugInfo:
    """The debug information of a module, at the addresses where it lies.

    A damaged file has less of it, or none: whatever pyelftools meets there ends the reading.

    Args:
        image: The module file.
        addresses: Its sections' addresses by name.
    """

    def __init__(self, image: bytes, addresses: Mapping[str, int]) -> None:
        from elftools.elf.elffile import ELFFile

        self.types = TypeReader()
        self._types: dict[str, DIE] = {}
        self._functions: list[DIE] = []
        self._inlined: set[str] = set()
        self._variables: dict[str, list[DIE]] = {}
        self._enumerations: list[DIE] = []
        self.dwarf: Any = None
        self._units: list[Any] = []
        try:
            elf = ELFFile(io.BytesIO(relocate_debug_sections(image, addresses)))
            if elf.has_dwarf_info():
                self.dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
                for unit in units(self.dwarf):
                    top = unit.get_top_DIE()
                    self._units.append(unit)
                    for die in top.iter_children():
                        self._note(die)
        except Exception:  # a damaged file; debug information is an aid
            return

    def __bool__(self) -> bool:
        return bool(self._units)

    def _note(self, die: DIE) -> None:
        if die.tag == "DW_TAG_subprogram":
            if "DW_AT_low_pc" in die.attributes or "DW_AT_ranges" in die.attributes:
                self._functions.append(die)
            elif number_of(die, "DW_AT_inline"):
                self._inlined.add(name_of(die))
        elif die.tag == "DW_TAG_variable":
            self._variables.setdefault(name_of(die), []).append(die)
        else:
            if die.tag == "DW_TAG_enumeration_type":
                self._enumerations.append(die)
            key = type_key(die)
            if key is not None:
                known = self._types.get(key)
                if known is None or "DW_AT_declaration" in known.attributes:
                    self._types[key] = die

    # --- names ----------------------------------------------------------------------------------------

    def type_named(self, key: str) -> CType | None:
        """A type by "struct file", "union x", "enum y", or a typedef's name."""
        die = self._types.get(key)
        return self.types.read(die) if die is not None else None

    def type_names(self) -> list[str]:
        """All names that `type_named` knows."""
        return list(self._types)

    def variable(self, name: str) -> DIE | None:
        """A global or file-static variable; one with a place if there is one."""
        found = self._variables.get(name, [])
        return next((die for die in found if "DW_AT_location" in die.attributes), next(iter(found), None))

    def variable_names(self) -> list[str]:
        """All variables outside functions that have a place."""
        return [
            name
            for name, dies in self._variables.items()
            if name and any("DW_AT_location" in die.attributes for die in dies)
        ]

    @cached_property
    def enumerators(self) -> Mapping[str, tuple[int, DIE]]:
        """Enumeration constants: value and enumeration."""
        return {
            name_of(child): (number_of(child, "DW_AT_const_value"), die)
            for die in self._enumerations
            for child in die.iter_children()
        }

    # --- functions ------------------------------------------------------------------------------------

    @cached_property
    def functions(self) -> Mapping[str, list[DIE]]:
        """Functions with code of their own, by name."""
        found: dict[str, list[DIE]] = {}
        for die in self._functions:
            found.setdefault(name_of(origin_of(die)) or name_of(die), []).append(die)
        return found

    def entries(self, name: str) -> list[int]:
        """Where a function begins, and each inlined copy of it."""
        found = [ranges_of(die)[0][0] for die in self.functions.get(name, []) if ranges_of(die)]
        if name in self._inlined:
            for function in self._functions:
                for die in _all_inlined(function):
                    scope = FunctionScope(die, [die])
                    if scope.name == name and scope.ranges:
                        found.append(scope.entry)
        return sorted(set(found))

    @cached_property
    def _covered(self) -> list[tuple[Ranges, DIE]]:
        return [(ranges_of(die), die) for die in self._functions]

    def scopes(self, address: int) -> list[FunctionScope]:
        """The function at an address behind the inlined ones there, innermost first."""
        for ranges, die in self._covered:
            if covers(ranges, address):
                found = [FunctionScope(die, [die])]
                _enter(die, address, found)
                return found[::-1]
        return []

    # --- lines and frames -----------------------------------------------------------------------------

    @cached_property
    def lines(self) -> LineIndex:
        """Source lines."""
        rows: list[LineRow] = []
        try:
            for unit in self._units:
                rows += rows_of(self.dwarf, unit)
        except Exception:  # as above
            return LineIndex(rows)
        return LineIndex(rows)

    def file_name(self, unit: Any, number: int) -> str:
        """The file that an attribute of a unit's entries names by number, "" for none."""
        names = file_names(self.dwarf.line_program_for_CU(unit))
        index = number - (0 if unit["version"] >= 5 else 1)
        return names[index] if 0 <= index < len(names) else ""

    @cached_property
    def frames(self) -> FrameTable | None:
        """Call frame information."""
        try:
            return FrameTable(self.dwarf) if self.dwarf is not None else None
        except Exception:  # as above
            return None

    @cached_property
    def folders(self) -> list[str]:
        """Where the compiler was when it was given the files' names."""
        tops = [unit.get_top_DIE().attributes.get("DW_AT_comp_dir") for unit in self._units]
        return list(dict.fromkeys(top.value.decode("utf-8", "replace") for top in tops if top is not None))

    def operations(self, die: DIE, attribute: str, address: int) -> list[Any] | None:
        """The expression that an attribute has at an address; None if it has none there."""
        from elftools.dwarf.dwarf_expr import DWARFExprParser
        from elftools.dwarf.locationlists import LocationParser

        found = die.attributes.get(attribute)
        if found is None:
            return None
        version = die.cu["version"]
        if not LocationParser.attribute_has_location(found, version):
            return None
        parsed = LocationParser(self.dwarf.location_lists()).parse_from_attribute(found, version, die)
        raw = parsed.loc_expr if hasattr(parsed, "loc_expr") else _listed(parsed, die, address)
        return list(DWARFExprParser(die.cu.structs).parse_expr(raw)) if raw is not None else None


def _listed(entries: Any, die: DIE, address: int) -> Any:
    """What a location list has for an address."""
    low = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = low.value if low is not None else 0
    for entry in entries:
        if hasattr(entry, "base_address"):
            base = entry.base_address
            continue
        shift = 0 if getattr(entry, "is_absolute", False) else base
        if entry.begin_offset + shift <= address < entry.end_offset + shift:
            return entry.loc_expr
    return None


def _members(die: DIE) -> Iterator[DIE]:
    """What is in a block; a block in it that has no code of its own counts as if it were not there."""
    for child in die.iter_children():
        if child.tag == "DW_TAG_lexical_block" and not ranges_of(child):
            yield from _members(child)
        else:
            yield child


def _enter(die: DIE, address: int, found: list[FunctionScope]) -> None:
    """Go down to the innermost block that holds an address."""
    for child in _members(die):
        if child.tag == "DW_TAG_inlined_subroutine" and covers(ranges_of(child), address):
            found.append(FunctionScope(child, [child]))
        elif child.tag == "DW_TAG_lexical_block" and covers(ranges_of(child), address):
            found[-1].blocks.append(child)
        else:
            continue
        _enter(child, address, found)
        return


def _all_inlined(die: DIE) -> Iterator[DIE]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_inlined_subroutine":
            yield child
        if child.tag in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"):
            yield from _all_inlined(child)
