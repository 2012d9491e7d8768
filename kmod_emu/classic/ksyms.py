"""ksyms of modutils: what kernel and modules export, as query_module(2) tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.query import kernel_info
from kmod_emu.classic.tool import MODUTILS_VERSION, Report, run
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.classic.program import Program
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "ksyms",
    "",
    "List the symbols that modules of the kept machine export, newest module first.",
    {
        "-a, --all": "also those of the kernel itself",
        "-h, --help": "show this text",
        "-H, --noheader": "no line with the names of the columns",
        "-m, --info": "also each module's address and size",
        "-V, --version": "show the version",
    },
    MODUTILS_VERSION.format("ksyms"),
)
HEADER = "Address           Symbol                            Defined by"


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    given = {key for key, _ in console.options(Getopt(COMMAND, args))}

    async def work(program: Program, report: Report) -> None:
        await ksyms(program, report, everything="a" in given, sizes="m" in given, header="H" not in given)

    return run(console, "ksyms", work, change=False)


async def ksyms(program: Program, report: Report, *, everything: bool, sizes: bool, header: bool) -> None:
    """Print the table."""
    info = await kernel_info(program)
    if header:
        report.out(HEADER)
    for module in info.modules:
        owner = _safe(module.name)
        if sizes:
            size = f"({module.info.size // 1024}k)"
            report.out(f"{module.info.addr:016x}  {size:32}  [{owner}]")
        for value, name in module.symbols:
            report.out(f"{value:016x}  {_safe(name):32}  [{owner}]")
    for value, name in info.symbols if everything else ():
        report.out(f"{value:016x}  {_safe(name)}")


def _safe(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))
