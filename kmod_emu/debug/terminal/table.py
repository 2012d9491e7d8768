"""The table of commands: names, abbreviations and help, as in gdb."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.debug.c.values import DebugError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.debug.terminal.session import Session

    Run = Callable[[Session, str], None]

__all__ = ["SECTIONS", "Command", "Table", "commands", "split_name"]

SECTIONS = {
    "breakpoints": "Making the machine stop at certain points.",
    "data": "Examining data.",
    "running": "Running the module.",
    "stack": "Examining the stack.",
    "status": "Status inquiries.",
    "support": "Support facilities.",
}
_NAME = re.compile(r"\s*([A-Za-z_][\w-]*|!)\s*(.*)", re.DOTALL)


class Command(NamedTuple):
    """A command.

    Attributes:
        name: In full.
        short: Other names, and abbreviations that stand for it although others begin so too.
        section: Under which it is listed.
        repeats: An empty line does it again.
        run: Gets the session and what stands behind the name.
    """

    name: str
    short: tuple[str, ...]
    section: str
    repeats: bool
    run: Run

    @property
    def help(self) -> str:
        """What it does, and how it is called."""
        return cleandoc(self.run.__doc__ or "")

    @property
    def summary(self) -> str:
        """The first sentence of that."""
        return self.help.partition("\n")[0]


class Table:
    """Commands that share a prefix: all of them, or those behind `info`.

    Args:
        what: What they are called in messages: "" or "info ".
    """

    def __init__(self, what: str = "") -> None:
        self.what = what
        self._commands: dict[str, Command] = {}
        self._short: dict[str, str] = {}

    def add(
        self, name: str, *short: str, section: str = "status", repeats: bool = False
    ) -> Callable[[Run], Run]:
        """Decorator: a function is a command; its docstring is the help."""

        def note(run: Run) -> Run:
            self._commands[name] = Command(name, short, section, repeats, run)
            self._short.update(dict.fromkeys(short, name))
            return run

        return note

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())

    def names(self) -> list[str]:
        """All names in full."""
        return list(self._commands)

    def find(self, word: str) -> Command:
        """The command of a name or an abbreviation that fits no other.

        Raises:
            DebugError: There is none, or more than one.
        """
        name = word if word in self._commands else self._short.get(word)
        if name is not None:
            return self._commands[name]
        found = [name for name in self._commands if name.startswith(word)]
        if not found:
            hint = f"help {self.what}".rstrip()
            raise DebugError(f'Undefined {self.what}command: "{word}".  Try "{hint}".')
        if len(found) > 1:
            raise DebugError(f'Ambiguous {self.what}command "{self.what}{word}": {", ".join(sorted(found))}.')
        return self._commands[found[0]]


def split_name(line: str) -> tuple[str, str]:
    """A line's first word and the rest.

    >>> split_name("x/8gx $rsp"), split_name("p*file")
    (('x', '/8gx $rsp'), ('p', '*file'))
    """
    match = _NAME.match(line)
    if match is None:
        return line.strip(), ""
    return match.group(1), match.group(2).strip()


def split_format(text: str) -> tuple[str, str]:
    """A format behind a slash, and the rest.

    >>> split_format("/8gx $rsp")
    ('8gx', '$rsp')
    """
    if not text.startswith("/"):
        return "", text
    form, _, rest = text[1:].partition(" ")
    return form, rest.strip()


commands = Table()
