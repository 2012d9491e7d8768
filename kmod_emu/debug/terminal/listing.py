"""Source lines and machine code as `list` and `disassemble` print them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.disassembly import decode
from kmod_emu.debug.terminal.describe import line_text
from kmod_emu.debug.terminal.table import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.debug.disassembly import Decoded
    from kmod_emu.debug.terminal.session import Session

_FIRST_LINES = 5  # as many before the line that is meant


@commands.add("list", "l", section="data", repeats=True)
def list_(session: Session, text: str) -> None:
    """List specified function or line.

    Usage: list [LINE | FUNCTION | FILE:LINE | FIRST,LAST | -]
    With no argument, lists ten more lines after or around previous listing.
    """
    size = session.settings["listsize"] or 10
    file, first, last = _range(session, text.strip(), size)
    show_lines(session, file, first, last)


def _range(session: Session, text: str, size: int) -> tuple[str, int, int]:
    """The file and the lines that are meant."""
    if not text or text == "-":
        return _next_range(session, size, backwards=text == "-")
    start, comma, end = text.partition(",")
    if not comma:
        file, line = _line_of(session, text)
        first = max(line - _FIRST_LINES, 1)
        return file, first, first + size - 1
    if not start.strip():
        file, last = _line_of(session, end)
        return file, max(last - size + 1, 1), last
    file, first = _line_of(session, start)
    if not end.strip():
        return file, first, first + size - 1
    end = end.strip()
    last = first + int(end[1:]) if re.fullmatch(r"\+\d+", end) else _line_of(session, end)[1]
    return file, first, last


def _next_range(session: Session, size: int, *, backwards: bool) -> tuple[str, int, int]:
    if session.listed is None:
        if session.locator.default is None:
            raise DebugError('No symbol table is loaded.  Use the "file" command.')
        file, line = session.locator.default
        first = max(line - _FIRST_LINES, 1)
        return file, first, first + size - 1
    file, first, last = session.listed
    if not backwards:
        return file, last + 1, last + size
    if first <= 1:
        raise DebugError(f"Already at the start of {file}.")
    return file, max(first - size, 1), first - 1


def _line_of(session: Session, text: str) -> tuple[str, int]:
    text = text.strip()
    default = session.locator.default
    if text.isdigit() and default is not None:
        return default[0], int(text)
    file, colon, number = text.rpartition(":")
    if colon and number.isdigit():
        for info in session.program.infos:
            for known in info.lines.named(file):
                return known, int(number)
    place = session.locator.find(text)[0]
    if not place.file:
        raise DebugError(f'Function "{text}" not defined.' if text[:1] != "*" else "No line number known.")
    return place.file, place.line


def show_lines(session: Session, file: str, first: int, last: int) -> None:
    """Print lines of a file; DebugError if it has none of them."""
    folders = [folder for info in session.program.infos for folder in info.folders]
    lines = session.sources.lines(file, *folders)
    if lines is None:
        session.write(line_text(session, file, first, None))
        return
    count = len(lines) - (lines[-1:] == [""])
    if first > count:
        raise DebugError(f'Line number {first} out of range; "{file}" has {count} lines.')
    last = min(last, count)
    for number in range(first, last + 1):
        session.write(f"{number}\t{lines[number - 1]}")
    session.listed = file, first, last


def disassembly(session: Session, text: str, modifiers: set[str]) -> Iterator[str]:
    """The lines of `disassemble`."""
    start, comma, end = text.partition(",")
    names = session.names
    if comma:
        low = names.evaluate(start).integer() & (1 << 64) - 1
        end = end.strip()
        relative = end.startswith("+")
        high = names.evaluate(end[1:] if relative else end).integer() & (1 << 64) - 1
        high += low if relative else 0
        yield f"Dump of assembler code from {low:#x} to {high:#x}:"
        yield from _code(session, low, high, modifiers, None)
    else:
        address = names.evaluate(text).integer() & (1 << 64) - 1 if text else session.frame.pc
        bounds = session.program.function_bounds(address)
        if bounds is None:
            what = "specified address." if text else "selected frame."
            raise DebugError(f"No function contains {'program counter for ' if not text else ''}{what}")
        name, low, high = bounds
        yield f"Dump of assembler code for function {name}:"
        yield from _code(session, low, high, modifiers, low)
    yield "End of assembler dump."


def _code(session: Session, low: int, high: int, modifiers: set[str], function: int | None) -> Iterator[str]:
    code = session.examiner.code(low, high - low + 16)
    pc = session.pc
    lined: tuple[str, int] | None = None
    for decoded in decode(code, low, intel=session.examiner.intel):
        if decoded.address >= high:
            break
        if modifiers & {"s", "m"}:
            before = lined
            lined = _line_at(session, decoded.address) or lined
            if lined is not None and lined != before:
                yield from _source(session, before, lined)
        offset = f"<+{decoded.address - function}>" if function is not None else _symbol(session, decoded)
        mark = "=>" if decoded.address == pc else "  "
        raw = ""
        if "r" in modifiers:
            part = code[decoded.address - low : decoded.address - low + decoded.size]
            raw = f"{part.hex(' '):<20}\t"
        yield f"{mark} {decoded.address:#018x} {offset}:\t{raw}{decoded.text(session.program.symbol)}"


def _symbol(session: Session, decoded: Decoded) -> str:
    found = session.program.locate(decoded.address)
    return f"<{found[0]}+{found[1]}>" if found else ""


def _line_at(session: Session, address: int) -> tuple[str, int] | None:
    line = session.program.line_at(address)
    return (line.file, line.line) if line else None


def _source(session: Session, before: tuple[str, int] | None, now: tuple[str, int]) -> Iterator[str]:
    if before is not None:
        yield ""
    if before is None or before[0] != now[0]:
        yield f"{now[0]}:"
    folders = [folder for info in session.program.infos for folder in info.folders]
    yield line_text(session, *now, session.sources.lines(now[0], *folders))
