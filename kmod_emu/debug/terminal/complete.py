"""What the end of a command line can become."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.values import DebugError
from kmod_emu.debug.registers import GENERAL
from kmod_emu.debug.terminal.info import infos
from kmod_emu.debug.terminal.table import commands, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.debug.terminal.session import Session

__all__ = ["candidates"]

_PLACES = ("break", "tbreak", "until", "advance", "list", "clear")
_EXPRESSIONS = ("print", "x", "display", "set", "watch", "rwatch", "awatch", "ptype", "whatis", "call",
                "output", "disassemble", "last-write", "printf", "condition")  # fmt: skip
_CAUGHT = ("export", "load", "oops", "syscall", "unimplemented", "warn")
_MEMBER = re.compile(r"(?:/\w* *)?(.+)(?:\.|->)(\w*)$")
_LAST_WORD = re.compile(r"[\w.$:-]*$")
_MOST = 200


def candidates(session: Session, line: str) -> Iterator[tuple[int, str]]:
    """The words that may stand at the end of a line, and where in the line each begins."""
    word, rest = split_name(line)
    if not rest and not line[-1:].isspace():
        for name in sorted(
            {*commands.names(), *(s for known in commands for s in known.short if len(s) > 3)}
        ):
            if name.startswith(word):
                yield line.index(word) if word else 0, name
        return
    try:
        command = commands.find(word).name
    except DebugError:
        return
    if command in ("info", "help", "catch"):
        words = {"info": infos.names(), "help": sorted(commands.names()), "catch": list(_CAUGHT)}[command]
        if " " not in rest:
            yield from _matching(line, rest, words)
            return
        command = "break" if command == "catch" else "print"
    if command in _EXPRESSIONS and (member := _MEMBER.search(rest)):
        yield from _members(session, line, member)
        return
    last = _LAST_WORD.search(line)
    begin = last.group() if last else ""
    if command in _PLACES:
        yield from _matching(line, begin, _places(session))
    elif command in _EXPRESSIONS or command == "info":
        yield from _matching(line, begin, _names(session, begin))


def _matching(line: str, begin: str, words: list[str]) -> Iterator[tuple[int, str]]:
    found = [word for word in dict.fromkeys(words) if word.startswith(begin)]
    for word in found[:_MOST]:
        yield len(line) - len(begin), word


def _places(session: Session) -> list[str]:
    words = [name for info in session.program.infos for name in info.functions]
    words += [f"{file.rpartition('/')[2]}:" for info in session.program.infos for file in info.lines.files]
    return [*words, *session.program.symbol_names()]


def _names(session: Session, begin: str) -> list[str]:
    if begin.startswith("$"):
        return [f"${name}" for name in (*GENERAL, *session.names.convenience)]
    words = []
    if session.frames:
        for parameters in (False, True):
            words += [name for name, _ in session.frame.variables(parameters=parameters)]
    for info in session.program.infos:
        words += [*info.variable_names(), *info.functions]
        words += [key.rpartition(" ")[2] for key in info.type_names()]
    return [*words, *session.program.symbol_names()]


def _members(session: Session, line: str, member: re.Match[str]) -> Iterator[tuple[int, str]]:
    """Members of what stands before the dot or arrow."""
    left, begin = member.groups()
    for expression in (left, left.rpartition(" ")[2]):
        try:
            value = session.names.evaluate(expression)
            break
        except DebugError:
            continue
    else:
        return
    bare = value.bare
    kind = session.names.evaluator.complete(bare.target if isinstance(bare, c.Pointer) else bare)
    if isinstance(kind, c.Aggregate):
        yield from _matching(line, begin, list(_field_names(kind)))


def _field_names(kind: c.Aggregate) -> Iterator[str]:
    for field in kind.fields:
        inner = field.type.bare
        if field.name:
            yield field.name
        elif isinstance(inner, c.Aggregate):
            yield from _field_names(inner)
