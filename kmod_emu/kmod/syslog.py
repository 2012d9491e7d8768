"""syslog: the machine's system log, /var/log/syslog, as tail(1) shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "syslog",
    "",
    "Print the system log of the kept machine: date, host, sender and text of each message.",
    {
        "-f, --follow": "wait for more, until Ctrl-C",
        "-n, --lines=NUMBER": "only the last lines",
        "-h, --help": "show this text",
    },
)


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    follow, count = False, None
    for key, value in console.options(line):
        if key == "f":
            follow = True
        elif value.isdecimal():
            count = int(value)
        else:
            raise ToolError(f"syslog: invalid number of lines: '{value}'")
    if line.operands:
        raise ToolError(f"syslog: extra operand '{line.operands[0]}'")
    changes = console.changes(console.stamp()) if follow else ()
    text = console.syslog()
    lines = text.splitlines(keepends=True)
    console.out("".join(lines if count is None else lines[max(len(lines) - count, 0) :]))
    for _ in changes:
        before, text = text, console.syslog()
        console.out(text.removeprefix(before))  # all of it where the machine was booted again
    return 0
