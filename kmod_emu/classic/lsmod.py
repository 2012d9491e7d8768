"""lsmod of modutils: the modules, as query_module(2) tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.procfs import status
from kmod_emu.classic.query import kernel_info
from kmod_emu.classic.structs import MOD_RUNNING
from kmod_emu.classic.tool import MODUTILS_VERSION, Report, run
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import tame
from kmod_emu.uapi.fcntl import O_RDONLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.classic.program import Program
    from kmod_emu.classic.query import ModuleStat
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "lsmod",
    "",
    "List the modules of the kept machine, newest first.",
    {"-h, --help": "show this text", "-V, --version": "show the version"},
    MODUTILS_VERSION.format("lsmod"),
)
HEADER = "Module                  Size  Used by"
_TAINTS = (("P", "G"), ("F", " "), ("S", " "))  # of bits 0 to 2, where set and where not


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    for _ in console.options(line):
        pass
    if line.operands:
        raise ToolError(COMMAND.usage().rstrip("\n"))
    return run(console, "lsmod", lsmod, change=False)


async def lsmod(program: Program, report: Report) -> None:
    """Print the table."""
    info = await kernel_info(program, symbols=False, refs=True)
    report.out(HEADER + taint_text(await _tainted(program)))
    for module in info.modules:
        report.out(tame(row(module)))


def row(module: ModuleStat) -> str:
    """A module's line."""
    flags = module.info.flags
    text = f"{module.name:<20}{module.info.size:8d}"
    if flags & MOD_RUNNING:
        text += f"{module.info.usecount:4d}"
    text += "".join(status(flags))
    return f"{text} [{' '.join(module.refs)}]" if module.refs else text


def taint_text(mask: int) -> str:
    """What the heading says of the kernel.

    >>> taint_text(0), taint_text(1), taint_text(2)
    ('    Not tainted', '    Tainted: P  ', '    Tainted: GF ')
    """
    if not mask & (1 << len(_TAINTS)) - 1:  # an oops taints no kernel yet
        return "    Not tainted"
    letters = (on if mask >> bit & 1 else off for bit, (on, off) in enumerate(_TAINTS))
    return f"    Tainted: {''.join(letters)}"


async def _tainted(program: Program) -> int:
    fd = await program.call("open", program.text("/proc/sys/kernel/tainted"), O_RDONLY, 0)
    place = program.process.put(bytes(80))
    length = await program.call("read", fd, place, 79)
    await program.call("close", fd)
    return int(program.process.get(place, length))
