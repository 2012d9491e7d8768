"""Memory in any format: gdb's x/FMT."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.debug.c.show import character, format_number
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.disassembly import decode
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.debug.c.show import Printer
    from kmod_emu.debug.c.values import MemoryAccess

__all__ = ["Examiner", "Format", "parse_format"]

_SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
_LETTERS = "oxdutfaicsz"
_FORMAT = re.compile(r"(-?\d*)([a-z]*)")
_PER_LINE = {1: 8, 2: 8, 4: 4, 8: 2}
_STRING_LIMIT = 200
_LONGEST_INSTRUCTION = 15


class Format(NamedTuple):
    """What stands behind the slash: how many, how shown, how large; "" and 0 where it says nothing."""

    times: int
    letter: str
    size: int


def parse_format(text: str) -> Format:
    """A format as `x` and `print` take it.

    Raises:
        DebugError: It is none.

    >>> parse_format("8gx")
    Format(times=8, letter='x', size=8)
    """
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise DebugError(f'Undefined output format "{text}".')
    letter, size = "", 0
    for word in match.group(2):
        if word in _SIZES:
            size = _SIZES[word]
        elif word in _LETTERS:
            letter = word
        else:
            raise DebugError(f'Undefined output format "{word}".')
    count = match.group(1)
    return Format(int(count) if count.strip("-") else 1, letter, size)


class Examiner:
    """Shows memory; remembers where it ended and how it showed, for the next time.

    Attributes:
        next: Where it goes on.
        last: The address of what was shown last.
        intel: Intel's syntax for instructions.
    """

    def __init__(self, memory: MemoryAccess, printer: Printer) -> None:
        self._memory, self._printer = memory, printer
        self.next: int | None = None
        self.last = 0
        self.format = Format(1, "x", 4)
        self.intel = False

    def choose(self, given: Format) -> Format:
        """A format with what it leaves out taken from the one before."""
        letter = given.letter or self.format.letter
        size = given.size or self.format.size
        if letter == "a":
            size = 8
        elif letter == "c" and not given.size:
            size = 1
        elif letter == "f" and not given.size and size not in (4, 8):
            size = 8
        if letter not in "si":  # they say nothing about sizes
            self.format = Format(1, letter, size)
        else:
            self.format = self.format._replace(letter=letter)
        return Format(given.times, letter, size)

    def show(self, address: int, form: Format, pc: int | None = None) -> Iterator[str]:
        """The lines that show memory from an address on.

        Raises:
            DebugError: There is no memory; what was there was shown.
        """
        self.next = address
        if form.letter == "i":
            yield from self._instructions(form.times, pc)
        elif form.letter == "s":
            for _ in range(form.times):
                yield self._string()
        else:
            yield from self._units(form)

    def _label(self, address: int) -> str:
        return f"{self._printer.address(address)}:"

    def _read(self, address: int, size: int) -> bytes:
        try:
            return self._memory.read(address, size)
        except PageFault as fault:
            raise DebugError(f"Cannot access memory at address {fault.address:#x}") from None

    def _units(self, form: Format) -> Iterator[str]:
        per_line = 1 if form.letter == "t" and form.size == 8 else _PER_LINE[form.size]
        if form.letter == "t":
            per_line = {1: 8, 2: 8, 4: 2, 8: 1}[form.size]
        left = form.times
        while left > 0:
            assert self.next is not None
            line = self._label(self.next)
            for _ in range(min(per_line, left)):
                try:
                    data = self._read(self.next, form.size)
                except DebugError as error:
                    raise DebugError(f"{line}\t{error}" if line else str(error)) from None
                line += f"\t{self._unit(data, form)}"
                self.last, self.next = self.next, self.next + form.size
            left -= per_line
            yield line

    def _unit(self, data: bytes, form: Format) -> str:
        value = int.from_bytes(data, "little")
        if form.letter == "a":
            return self._printer.address(value)
        if form.letter == "f" and form.size in (4, 8):
            number = struct.unpack("<f" if form.size == 4 else "<d", data)[0]
            return f"{number:.9g}" if form.size == 4 else f"{number:.17g}"
        if form.letter == "c":
            return character(int.from_bytes(data[:1], "little", signed=True))
        return format_number("d" if form.letter == "f" else form.letter, value, form.size, padded=True)

    def _string(self) -> str:
        assert self.next is not None
        address, data = self.next, b""
        while b"\0" not in data and len(data) < _STRING_LIMIT:
            try:
                data += self._read(address + len(data), 1)
            except DebugError as error:
                if not data:
                    self.next = address + 1
                    return f"{self._label(address)}\t<error: {error}>"
                break
        text, end, _ = data.partition(b"\0")
        self.last, self.next = address, address + len(text) + len(end)
        cut = "" if end else "..."
        return f"{self._label(address)}\t{self._printer.string(text)}{cut}"

    def _instructions(self, count: int, pc: int | None) -> Iterator[str]:
        for _ in range(count):
            address = self.next
            assert address is not None
            mark = "=> " if address == pc else "   "
            decoded = next(decode(self.code(address, _LONGEST_INSTRUCTION), address, intel=self.intel), None)
            if decoded is None:
                raise DebugError(f"Cannot access memory at address {address:#x}")
            self.last, self.next = address, address + decoded.size
            yield f"{mark}{self._label(address)}\t{decoded.text(self._printer.symbol)}"

    def code(self, address: int, size: int) -> bytes:
        """As many bytes as there are, up to some size; DebugError for none."""
        for shorter in range(size, 0, -1):
            try:
                return self._memory.read(address, shorter)
            except PageFault:
                continue
        raise DebugError(f"Cannot access memory at address {address:#x}")
