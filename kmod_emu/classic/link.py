"""The linker inside insmod: symbols of others, sections in their places, places patched (modutils' obj/)."""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.classic.obj import EXTERNAL, STB_GLOBAL, STB_LOCAL, STB_WEAK, Symbol
from kmod_emu.kmod.errors import ToolError
from kmod_emu.module.elf import SHF_ALLOC, SHN_ABS, SHN_COMMON, SHT_NOBITS
from kmod_emu.module.relocate import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.classic.obj import ObjectFile, Relocation, Section
    from kmod_emu.classic.query import KernelInfo

_MASK64 = (1 << 64) - 1
_GPLONLY = "GPLONLY_"
_WELL_KNOWN = ("get_module_symbol_R", "inter_module_register_R", "inter_module_get_R", "printk_R")
U64 = struct.Struct("<Q")


class Resolved(NamedTuple):
    """A symbol that somebody else has: its name here, its address, who has it ("" is the kernel)."""

    name: str
    address: int
    owner: str


class Patched(NamedTuple):
    """A place that was patched, for the map of -v and for who listens."""

    section: str
    offset: int
    symbol: str
    address: int
    value: int


# --- symbols ----------------------------------------------------------------------------------------------


def version_prefix(names: Iterable[str]) -> str:
    """What stands between `_R` and the version in a kernel's symbols: "smp_" or nothing.

    >>> version_prefix(["printk_Rsmp_1b7d4074"]), version_prefix(["printk_R1b7d4074", "printk"])
    ('smp_', '')
    """
    for name in names:
        for known in _WELL_KNOWN:
            if name.startswith(known) and re.fullmatch("[0-9a-fA-F]{8}", name[-8:]):
                return name[len(known) : -8]
    return ""


def bare(name: str, prefix: str) -> str:
    """A symbol's name without its version.

    >>> bare("printk_R1b7d4074", ""), bare("printk_Rsmp_1b7d4074", "smp_"), bare("fat_R1", "")
    ('printk', 'printk', 'fat_R1')
    """
    length = 10 + len(prefix)
    if len(name) > length and name[-length:].startswith(f"_R{prefix}"):
        return name[:-length]
    return name


def add_kernel_symbols(
    obj: ObjectFile, info: KernelInfo, *, gpl: bool, ignore_versions: bool
) -> tuple[list[Resolved], list[str]]:
    """Let the object's references see what modules, newest first, and then the kernel export.

    Args:
        obj: The object.
        info: Who exports what.
        gpl: Whether it may use symbols that are marked GPLONLY_.
        ignore_versions: One side has no versions: names are compared without them.

    Returns:
        What was found, and the names of the modules that it needs.
    """
    prefix = version_prefix(name for _, name in info.symbols)

    def key(name: str) -> str:
        return bare(name, prefix) if ignore_versions else name

    wanted: dict[str, Symbol] = {}
    for symbol in obj.symbols.values():
        wanted.setdefault(key(symbol.name), symbol)
    found: list[Resolved] = []
    used = []
    suppliers = [(module.name, module.symbols) for module in info.modules]
    for number, (owner, symbols) in enumerate([*suppliers, ("", info.symbols)]):
        index = EXTERNAL + 1 + number if owner else EXTERNAL
        before = len(found)
        for value, exported in symbols:
            name = exported
            if name.startswith(_GPLONLY):
                if not gpl:
                    continue
                name = name.removeprefix(_GPLONLY)
            reference = wanted.get(key(name))
            if reference is None or reference.external:
                continue
            if reference.undefined or reference.binding == STB_WEAK:
                reference.section, reference.value, reference.binding = index, value, STB_GLOBAL
                found.append(Resolved(reference.name, value, owner))
        if owner and len(found) > before:
            used.append(owner)
    return found, used


def unresolved(obj: ObjectFile) -> list[str]:
    """References that nobody answers; weak ones become 0 (obj_check_undefineds)."""
    missing = []
    for symbol in obj.symbols.values():
        if not symbol.undefined:
            continue
        if symbol.binding == STB_WEAK:
            symbol.section, symbol.value = SHN_ABS, 0
        else:
            missing.append(symbol.name)
    return missing


def allocate_commons(obj: ObjectFile) -> None:
    """Give common symbols room in .bss (obj_allocate_commons)."""
    commons = [symbol for symbol in obj.symbols.values() if symbol.section == SHN_COMMON]
    if not commons:
        return
    bss = obj.find_section(".bss") or obj.create_section(".bss", 8, 0)
    bss.type = SHT_NOBITS
    for symbol in sorted(commons, key=lambda symbol: symbol.size):
        align = symbol.value or 1  # that of a common symbol is its alignment
        bss.align = max(bss.align, align)
        start = -(-bss.size // align) * align
        symbol.section, symbol.value = bss.index, start
        bss.size = start + symbol.size


# --- layout and relocation --------------------------------------------------------------------------------


def load_size(obj: ObjectFile) -> int:
    """Put the sections behind each other, from 0 on; the size of it all (obj_load_size)."""
    end = 0
    for section in obj.load_order:
        align = section.align or 1
        section.address = end = -(-end // align) * align
        end += section.size
    return end


def relocate(obj: ObjectFile, base: int) -> list[Patched]:
    """Move the module to its address and patch every place that refers to something (obj_relocate).

    Raises:
        ToolError: insmod's messages, one a line.
    """
    for section in obj.sections:
        section.address += base if section.allocated else 0
    done, errors = [], []
    for section in obj.sections:
        for relocation in section.relocations if section.allocated else ():
            try:
                done.append(_apply(obj, section, relocation))
            except ToolError as error:
                errors.append(str(error))
    if errors:
        raise ToolError("\0".join(errors))
    for section in obj.sections:
        for offset, _, symbol, _ in section.patches:
            value = obj.final_value(symbol)
            section.contents[offset : offset + 8] = U64.pack(value)
            done.append(Patched(section.name, offset, symbol.name, value, value))
    return done


def _apply(obj: ObjectFile, section: Section, relocation: Relocation) -> Patched:
    """Apply one: the value is added to what is there."""
    offset, number, symbol, addend = relocation
    kind = KINDS.get(number)
    if kind is None:
        raise ToolError(f"Unhandled relocation of type {number} for {symbol.name}")
    value, place = obj.final_value(symbol), section.address + offset
    if not kind.size:
        return Patched(section.name, offset, symbol.name, value, 0)
    if not 0 <= offset <= section.size - kind.size or section.type == SHT_NOBITS:
        raise ToolError(f"Relocation overflow of type {number} for {symbol.name}")
    contents = section.contents
    there = int.from_bytes(contents[offset : offset + kind.size], "little")
    result = (value + addend + there - (place if kind.relative else 0)) & _MASK64
    if not kind.fits(result):
        raise ToolError(f"Relocation overflow of type {number} for {symbol.name}")
    contents[offset : offset + kind.size] = (result & (1 << 8 * kind.size) - 1).to_bytes(kind.size, "little")
    return Patched(section.name, offset, symbol.name, value, result)


def create_image(obj: ObjectFile, base: int, size: int) -> bytes:
    """The module's memory as it is to be (obj_create_image)."""
    image = bytearray(size)
    for section in obj.load_order:
        if section.type != SHT_NOBITS:
            start = section.address - base
            image[start : start + section.size] = section.contents
    return bytes(image)


def count_by_type(obj: ObjectFile) -> dict[str, int]:
    """How many relocations of each type the module's memory has."""
    kinds = Counter(
        relocation.type for section in obj.sections if section.allocated for relocation in section.relocations
    )
    return {KINDS[number].name: count for number, count in sorted(kinds.items()) if number in KINDS}


# --- the load map -----------------------------------------------------------------------------------------


def load_map(obj: ObjectFile) -> Sequence[str]:
    """What insmod -m prints: sections and symbols with their addresses."""
    lines = [f"Sections:       Size      {'Address':<16}  Align"]
    for section in obj.load_order:
        power = max(section.align.bit_length() - 1, 0)
        lines.append(f"{section.name:<15} {section.size:08x}  {section.address:016x}  2**{power}")
    lines += ["", "Symbols:"]
    shown = [
        symbol
        for symbol in obj.every_symbol()
        if not symbol.external and not symbol.undefined and _is_loaded(obj, symbol)
    ]
    for symbol in sorted(shown, key=obj.final_value):
        lines.append(f"{obj.final_value(symbol):016x} {_letter(obj, symbol)} {symbol.name}")
    return lines


def _is_loaded(obj: ObjectFile, symbol: Symbol) -> bool:
    return symbol.section == SHN_ABS or obj.sections[symbol.section].allocated


def _letter(obj: ObjectFile, symbol: Symbol) -> str:
    if symbol.section == SHN_ABS:
        letter = "A"
    else:
        section = obj.sections[symbol.section]
        if section.type == SHT_NOBITS:
            letter = "B"
        else:
            flags = section.flags
            letter = "T" if flags & 4 else "D" if flags & 1 else "R" if flags & SHF_ALLOC else "?"
    return letter.lower() if symbol.binding == STB_LOCAL else letter
