"""Command lines as the real tools read them: glibc's getopt_long(3), with its messages.

A tool's options are one table, from the option as a manual writes it to a line of help:

>>> table = {"-F, --field=FIELD": "print only this field", "-0, --null": "NUL ends entries", "-s": ""}
>>> line = Getopt(Command("modinfo", "FILE...", "Describe modules.", table), ["x.ko", "-0F", "a", "--fi=b"])
>>> list(line), line.operands
([('0', ''), ('F', 'a'), ('F', 'b')], ['x.ko'])

An option is known by its letter, or by its first long name where it has no letter. Options that have no
help are understood and not shown.
"""

from __future__ import annotations

import os
import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Command", "Getopt"]

KMOD_VERSION = "kmod version 30\n+ZSTD +XZ +ZLIB +LIBCRYPTO -EXPERIMENTAL\n"  # whose behaviour this is

_NAME = re.compile(r"--?([\w-]+)(\[?)[= ]?(\w*)")  # an option's name, [ if the argument may lack, argument
_HELP_COLUMN = 30


class Command(NamedTuple):
    """How a tool is called.

    Attributes:
        name: The tool's.
        operands: What follows the options, for the help.
        purpose: One or more sentences.
        options: From options to their help, in the order in which glibc lists the possibilities of an
            ambiguous one.
        version: What -V prints.
    """

    name: str
    operands: str
    purpose: str
    options: Mapping[str, str]
    version: str = KMOD_VERSION

    def usage(self) -> str:
        """The help.

        >>> print(Command("lsmod", "", "List modules.", {"-h, --help": "show this text"}).usage(), end="")
        Usage: lsmod [options]
        <BLANKLINE>
        List modules.
        <BLANKLINE>
          -h, --help                  show this text
        """
        lines = [f"Usage: {self.name} [options] {self.operands}".rstrip(), "", self.purpose, ""]
        for names, text in self.options.items():
            if text:
                shown = f"    {names}" if names.startswith("--") else names
                lines.append(f"  {shown:{_HELP_COLUMN - 3}} {text}")
        return "".join(f"{line}\n" for line in lines)

    def completions(self) -> dict[str, str]:
        """Every option that has help, as typed, and its help.

        >>> Command("modinfo", "", "", {"-F, --field=FIELD": "print only this field"}).completions()
        {'-F': 'print only this field', '--field': 'print only this field'}
        """
        return {
            f"{'-' if len(match[1]) == 1 else '--'}{match[1]}": text
            for names, text in self.options.items()
            if text
            for match in _NAME.finditer(names)
        }

    def long_name(self, key: str) -> str:
        """The first long name of an option.

        >>> Command("dmesg", "", "", {"-n, --console-level=LEVEL": ""}).long_name("n")
        'console-level'
        """
        return next(name for name, option in _parse(self.options)[1].items() if option.key == key)


class _Takes(Enum):
    """Whether an option takes an argument."""

    NOTHING = 0
    ARGUMENT = 1
    MAYBE = 2


class _Option(NamedTuple):
    key: str
    takes: _Takes


class Getopt:
    """One command line; iterating gives the options in order, then `operands` is complete.

    Args:
        command: The tool and its options.
        args: The words behind the tool's name.

    An error is met where glibc meets it: what the options before it asked for has been done by then.

    Raises:
        ToolError: While iterating: an unknown or ambiguous option, or one with an argument too many or few.
    """

    def __init__(self, command: Command, args: Sequence[str]) -> None:
        self.command = command
        self.operands: list[str] = []
        self._args = list(args)
        self._short, self._long = _parse(command.options)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each option's key and argument, "" where it has none."""
        while self._args:
            word = self._args.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                yield self._long_option(word)
            elif word.startswith("-") and word != "-":
                yield from self._letters(word[1:])
            else:
                self.operands.append(word)
                if "POSIXLY_CORRECT" in os.environ:
                    break
        self.operands += self._args

    def _long_option(self, word: str) -> tuple[str, str]:
        name, equals, value = word[2:].partition("=")
        full, option = self._find(name, word)
        if equals and option.takes is _Takes.NOTHING:
            raise self._error(f"option '--{full}' doesn't allow an argument")
        if not equals and option.takes is _Takes.ARGUMENT:
            if not self._args:
                raise self._error(f"option '--{full}' requires an argument")
            value = self._args.pop(0)
        return option.key, value

    def _find(self, name: str, word: str) -> tuple[str, _Option]:
        """The long option of that name or, without one, the only one that begins so."""
        if name in self._long:
            return name, self._long[name]
        found = [(full, option) for full, option in self._long.items() if full.startswith(name)]
        if not found:
            raise self._error(f"unrecognized option '{word}'")
        others = [full for full, option in found if option != found[0][1]]
        if others:
            possible = " ".join(f"'--{full}'" for full in (found[0][0], *others))
            raise self._error(f"option '{word}' is ambiguous; possibilities: {possible}")
        return found[0]

    def _letters(self, letters: str) -> Iterator[tuple[str, str]]:
        """A word of options by letter; the first that takes an argument takes the rest, or the next word."""
        while letters:
            letter, letters = letters[0], letters[1:]
            option = self._short.get(letter)
            if option is None:
                raise self._error(f"invalid option -- '{letter}'")
            if option.takes is _Takes.NOTHING:
                yield option.key, ""
                continue
            if not letters and option.takes is _Takes.ARGUMENT:
                if not self._args:
                    raise self._error(f"option requires an argument -- '{letter}'")
                letters = self._args.pop(0)
            yield option.key, letters
            return

    def _error(self, text: str) -> ToolError:
        return ToolError(f"{self.command.name}: {text}")


def _parse(table: Mapping[str, str]) -> tuple[dict[str, _Option], dict[str, _Option]]:
    """Letters and long names of a table."""
    short: dict[str, _Option] = {}
    long: dict[str, _Option] = {}
    for names in table:
        parts = list(_NAME.finditer(names))
        takes = _Takes.MAYBE if parts[-1][2] else _Takes.ARGUMENT if parts[-1][3] else _Takes.NOTHING
        key = next((part[1] for part in parts if len(part[1]) == 1), parts[0][1])
        for part in parts:
            (long if part[0].startswith("--") else short)[part[1]] = _Option(key, takes)
    return short, long
