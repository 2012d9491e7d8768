"""Linking a module without a machine, at the addresses where the recorded kernel had it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from kmod_emu.abi import profile
from kmod_emu.module import elf, verify
from kmod_emu.module.errors import KernelWouldCrash, LoadError
from kmod_emu.module.layout import Layout, lay_out
from kmod_emu.module.relocate import Complaints, SymbolValues, Target, apply_relocate_add
from kmod_emu.module.traits import Traits

ORACLE = Path(__file__).resolve().parents[1] / "recordings"
PROFILE = profile.load("6.1")
TRAITS = Traits.of(PROFILE)

# Each case was recorded on a freshly restored machine, so these never change.
COPY = 0xFF4C2585C004D000  # the temporary copy
CORE = 0xFFFFFFFFC027C000
GUARD = 4096
IMPORTED = 0xFFFFFFFF81000000  # any address will do for symbols of the base kernel

_HASHED = re.compile(r"\bloc [0-9a-f]{16}\b")


class Linked(NamedTuple):
    """A linked module; `memory` and `bases` are by region."""

    image: elf.Image
    layout: Layout
    memory: dict[str, bytearray]
    bases: dict[str, int]
    values: list[int]
    relocations: dict[str, int]


def link(blob: bytes) -> Linked:
    """From file to linked memory: the package's functions in the order of load_module."""
    image = checked(blob)
    for section in image.sections[1:]:
        section.address = COPY + section.offset
    for index in (image.versions, image.modinfo, image.percpu):
        image.sections[index].flags &= ~elf.SHF_ALLOC
    layout = lay_out(image)
    sizes = {name: plan.size for name, plan in layout.regions.items()}
    bases = {"core": CORE, "init": CORE + sizes["core"] + GUARD}
    memory = {name: bytearray(size) for name, size in sizes.items()}
    # move_module() copies in the order of the headers: where sections overlap, the later one stays.
    for section, region, offset in sorted(layout.placements, key=lambda placement: placement.section.index):
        section.address = bases[region] + offset
        contents = image.contents(section)
        memory[region][offset : offset + len(contents)] = contents
        assert len(memory[region]) == sizes[region], f"{section.name} was put outside of {region}"
    values = [symbol_value(image, symbol) for symbol in image.symbols]
    relocations: dict[str, int] = {}
    for section in image.sections[1:]:
        for kind, count in _relocate(image, section, memory, bases, values).items():
            relocations[kind] = relocations.get(kind, 0) + count
    return Linked(image, layout, memory, bases, values, relocations)


def symbol_value(image: elf.Image, symbol: elf.Symbol) -> int:
    """What simplify_symbols makes of a symbol whose imports all resolve."""
    if symbol.shndx == elf.SHN_UNDEF:
        return IMPORTED if symbol.name_offset else 0
    if symbol.shndx < len(image.sections):
        return (symbol.value + image.sections[symbol.shndx].address) % (1 << 64)
    return symbol.value


def _relocate(
    image: elf.Image,
    section: elf.Section,
    memory: dict[str, bytearray],
    bases: dict[str, int],
    values: list[int],
) -> dict[str, int]:
    if section.type != elf.SHT_RELA or section.info >= len(image.sections):
        return {}
    target = image.sections[section.info]
    if not target.flags & elf.SHF_ALLOC:
        return {}
    region = "init" if target.address >= bases["init"] else "core"
    complaints = Complaints(image.name, lambda place: "0" * 16, TRAITS)
    known = SymbolValues(values, lambda index: _stray_value(image, index, memory, bases))
    place = Target(memoryview(memory[region]), bases[region], target.address)
    return apply_relocate_add(image.contents(section), place, known, complaints)


def _stray_value(image: elf.Image, index: int, memory: dict[str, bytearray], bases: dict[str, int]) -> int:
    """st_value of a symbol behind the table: whatever is there in init memory."""
    address = (image.sections[image.symtab].address + 24 * index + 8) % (1 << 64)
    offset = address - bases["init"]
    if not 0 <= offset <= len(memory["init"]) - 8:
        raise KernelWouldCrash(address, "a relocation names a symbol that does not exist")
    return int.from_bytes(memory["init"][offset : offset + 8], "little")


def checked(blob: bytes, release: str = "6.1") -> elf.Image:
    """A file that passed all checks of a release before load_module looks at what it says."""
    kernel = profile.load(release)
    image = verify.elf_validity_check(blob, Traits.of(kernel))
    verify.setup_load_info(image, kernel, Traits.of(kernel))
    return image


def dmesg(error: LoadError) -> list[str]:
    """The error's lines as the recordings write them, without hashed pointers."""
    return [unhashed(f"<{level}>{line}").replace("\x7f", "\\x7f") for level, line in error.dmesg]


def unhashed(line: str) -> str:
    """A hashed pointer depends on the boot's key."""
    return _HASHED.sub("loc X", line)


def recorded_mutations() -> list[dict[str, Any]]:
    """mutations-6.1.json."""
    cases: list[dict[str, Any]] = json.loads((ORACLE / "mutations-6.1.json").read_text())
    return cases


def recorded_cases() -> dict[str, list[dict[str, Any]]]:
    """errno-6.1.json: case -> results of its steps."""
    cases = json.loads((ORACLE / "errno-6.1.json").read_text())
    return {case["case"]: case["results"] for case in cases}


def module_file(name: str) -> bytes:
    """A recorded module file."""
    return (ORACLE / "errno-cases" / f"{name}.ko").read_bytes()


def patched(patch: str) -> bytes:
    """h_hello.ko with a patch "offset:hexbytes" applied."""
    hello = module_file("h_hello")
    offset, _, replacement = patch.partition(":")
    start, code = int(offset), bytes.fromhex(replacement)
    return hello[:start] + code + hello[start + len(code) :]
