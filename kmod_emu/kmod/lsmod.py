"""lsmod: the list of modules (kmod 30, tools/lsmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "lsmod",
    "",
    "List the modules of the kept machine, newest first.",
    {
        "-s, --syslog": "accepted and ignored",
        "-v, --verbose": "accepted and ignored",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)

HEADER = "Module                  Size  Used by\n"


def main(console: Console, args: Sequence[str]) -> int:
    """The command; kmod 30's own takes no option at all, and says no more about it than this."""
    line = Getopt(COMMAND, args)
    try:
        list(console.options(line))
    except ToolError:
        line.operands.append("")
    if line.operands:
        raise ToolError("Usage: lsmod")
    notes = console.notes()
    console.out(table(notes["modules"] if notes else []))
    return 0


def lsmod(kernel: Kernel) -> str:
    """The table of a machine, newest module first."""
    from kmod_emu.module.modules import Modules

    return table(kernel[Modules].rows())


def table(rows: Iterable[tuple[str, int, int, list[str]]]) -> str:
    """The table for name, size, use count and holders of each module.

    >>> print(table([("snd_pcm", 159744, 2, ["snd_hda", "snd"])]), end="")
    Module                  Size  Used by
    snd_pcm               159744  2 snd_hda,snd
    """
    lines = [HEADER]
    for name, size, count, holders in rows:
        users = ",".join(holders)
        lines.append(f"{name:<19} {size:8d}  {count} {users}".rstrip() + "\n")
    return tame("".join(lines))
