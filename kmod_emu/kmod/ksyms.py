"""ksyms: the symbols that modules may use, with their addresses (modutils)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "ksyms",
    "",
    "List the symbols that modules may use, with their addresses.",
    {
        "-a, --all": "also symbols that are not implemented here",
        "-m, --info": "also each module's address and size",
        "-H, --noheader": "no line with the names of the columns",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)

HEADER = "Address           Symbol                            Defined by\n"


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    given = {key for key, _ in console.options(Getopt(COMMAND, args))}
    with console.machine(change=False) as kernel:
        text = ksyms(kernel, everything="a" in given, info="m" in given)
    console.out(text if "H" in given else HEADER + text)
    return 0


def ksyms(kernel: Kernel, *, everything: bool = False, info: bool = False) -> str:
    """One line a symbol: address, name, and the module that exports it.

    Args:
        kernel: The machine.
        everything: Also exports of the base kernel that are not implemented here.
        info: Also a line a module, with its address and size.
    """
    lines = []
    for module in kernel.modules:
        owner = escape(module.name.encode("utf-8", "surrogateescape"))
        if info:
            size = f"({module.core_size // 1024}k)"
            lines.append(f"{module.base:016x}  {size:32}  [{owner}]\n")
        for name, (address, *_) in sorted(module.exports.items(), key=lambda item: item[1][0]):
            shown = escape(name.encode("utf-8", "surrogateescape"))
            lines.append(f"{address:016x}  {shown:32}  [{owner}]\n")
    symbols = kernel.symbols if everything else kernel.symbols.present()
    lines += [f"{s.address:016x}  {s.name}\n" for s in sorted(symbols, key=lambda s: s.address)]
    return "".join(lines)
