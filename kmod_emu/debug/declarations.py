"""What debug information says of functions at addresses: their prototypes, and the lines of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import prototypes
from kmod_emu.debug.dwarf.dies import number_of

if TYPE_CHECKING:
    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.debug.dwarf.info import DebugInfo
    from kmod_emu.debug.program import Program


def prototype_at(program: Program, address: int) -> Prototype | None:
    """The prototype of the function at an address; None where nothing, or nothing simple, is known."""
    scopes, info = program.scopes(address), program.info_at(address)
    if not scopes or info is None:
        return None
    function, reader = scopes[-1], info.types
    parameters = [(name, reader.type_of(die)) for name, die in function.variables(parameters=True)]
    returns = reader.type_of(function.die)
    for plain in (False, True):  # a typedef of the module's own is not known, what it stands for may be
        words = [(kind.bare if plain else kind).declare(name) for name, kind in parameters]
        declared = (returns.bare if plain else returns).declare(
            f"{function.name}({', '.join(words) or 'void'})"
        )
        try:
            return prototypes.parse(declared)
        except ValueError:
            continue
    return None


def line_of(program: Program, address: int) -> str | None:
    """`file:line` in the function that has a frame: of inlined code, where that is called."""
    info = program.info_at(address)
    return line_from(info, address) if info is not None else None


def line_from(info: DebugInfo, address: int) -> str | None:
    """The same, in one module's debug information."""
    line = info.lines.at(address)
    if line is None:
        return None
    file, number = line.file, line.line
    for scope in info.scopes(address):
        if scope.is_inlined:
            number = number_of(scope.die, "DW_AT_call_line") or number
            file = info.file_name(scope.die.cu, number_of(scope.die, "DW_AT_call_file")) or file
    return f"{file}:{number}"
