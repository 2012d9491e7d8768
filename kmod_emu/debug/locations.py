"""Places in code as users write them: a function, FILE:LINE, a line, *ADDRESS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.debug.c.values import DebugError

if TYPE_CHECKING:
    from kmod_emu.debug.dwarf.info import DebugInfo
    from kmod_emu.debug.names import Names
    from kmod_emu.debug.program import Program

__all__ = ["Location", "Locator", "NotFound"]


class NotFound(DebugError):
    """A function, file or line that no loaded module has; a later one may."""


class Location(NamedTuple):
    """A place in code.

    Attributes:
        address: None for a line of a file without code.
        file: "" where debug information does not tell.
    """

    address: int | None
    file: str = ""
    line: int = 0
    function: str = ""


class Locator:
    """Finds places.

    Attributes:
        default: The file and line that a lone number, `+N` or `-N` refers to.
    """

    def __init__(self, program: Program, names: Names) -> None:
        self._program, self._names = program, names
        self.default: tuple[str, int] | None = None

    def find(self, text: str) -> list[Location]:
        """The places that a text means, in order of their addresses.

        Raises:
            NotFound: There is none, yet.
            DebugError: It is none.
        """
        text = text.strip()
        if text.startswith("*") or re.fullmatch(r"0x[0-9a-fA-F]+", text):
            return [self._at(self._names.evaluate(text.removeprefix("*")).integer() & (1 << 64) - 1)]
        file, colon, rest = text.rpartition(":")
        if colon:
            return self._in_file(file.strip(), rest.strip())
        if text.isdigit() or text[:1] in ("+", "-"):
            return self._line(text)
        return self._function(text)

    def _at(self, address: int) -> Location:
        line = self._program.line_at(address)
        scopes = self._program.scopes(address)
        name = scopes[0].name if scopes else ""
        return Location(address, line.file if line else "", line.line if line else 0, name)

    def _line(self, text: str) -> list[Location]:
        if self.default is None:
            raise DebugError('No symbol table is loaded.  Use the "file" command.')
        file, current = self.default
        try:
            number = int(text)
        except ValueError:
            raise DebugError(f'Function "{text}" not defined.') from None
        return self._of_line(file, current + number if text[0] in "+-" else number)

    def _in_file(self, name: str, rest: str) -> list[Location]:
        files = [(info, file) for info in self._program.infos for file in info.lines.named(name)]
        if not files:
            raise NotFound(f"No source file named {name}.")
        if not rest.isdigit():
            found = [place for place in self._function(rest) if any(place.file == file for _, file in files)]
            if not found:
                raise NotFound(f'Function "{rest}" not defined in "{name}".')
            return found
        return [place for _, file in files[:1] for place in self._of_line(file, int(rest))]

    def _of_line(self, file: str, number: int) -> list[Location]:
        """The places of a line's code: one in each block that has some."""
        for info in self._program.infos:
            line, addresses = info.lines.places(file, number)
            if addresses:
                return [
                    Location(address, file, line, _name(info, address))
                    for address in self._one_a_block(info, addresses)
                ]
        raise NotFound(f'No line {number} in file "{file.rpartition("/")[2]}".')

    @staticmethod
    def _one_a_block(info: DebugInfo, addresses: list[int]) -> list[int]:
        found: dict[object, int] = {}
        for address in addresses:
            scopes = info.scopes(address)
            block = scopes[0].blocks[-1].offset if scopes else None
            found.setdefault(block, address)
        return sorted(found.values())

    def _function(self, name: str) -> list[Location]:
        for info in self._program.infos:
            entries = info.entries(name)
            if entries:
                return [self._at(address)._replace(function=name) for address in entries]
        address = self._program.address_of(name)
        if address is None:  # printk() is a macro around _printk()
            address = self._program.address_of(f"_{name}")
        if address is not None and self._program.is_code(address):
            return [self._at(address)]
        if address is not None or not re.fullmatch(r"\w+", name):
            raise DebugError(f'Function "{name}" not defined.')
        raise NotFound(f'Function "{name}" not defined.')


def _name(info: DebugInfo, address: int) -> str:
    scopes = info.scopes(address)
    return scopes[0].name if scopes else ""


def split_condition(text: str) -> tuple[str, str]:
    """A location and the condition behind it.

    >>> split_condition("hello.c:9 if n == 2")
    ('hello.c:9', 'n == 2')
    """
    match = re.search(r"(?:^|\s)if(?=[\s(])", text)
    if match is None:
        return text.strip(), ""
    return text[: match.start()].strip(), text[match.end() :].strip()
