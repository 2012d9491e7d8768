"""lsmod: the list of modules (kmod 30, tools/lsmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kmod.console import tame
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    with console.machine(change=False) as kernel:
        console.out(lsmod(kernel))
    return 0


def lsmod(kernel: Kernel) -> str:
    """The table, newest module first."""
    lines = [HEADER]
    for module in kernel.modules:
        holders = ",".join(user.name for user in module.users)
        line = f"{module.name:<19} {module.size:8d}  {module.refcnt}"
        lines.append(f"{line} {holders}\n" if holders else f"{line}\n")
    return tame("".join(lines))
