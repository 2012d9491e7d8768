"""kerneld: the daemon that loaded modules for the kernel before kmod (modutils)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.kmod import Daemon, ModuleLoader
from kmod_emu.classic.tool import MODUTILS_VERSION
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "kerneld",
    "[keep] [delay=SECONDS] | stop",
    "From now on the kernel of the kept machine asks kerneld for modules, as Linux 2.0 did.\n"
    "After SECONDS (60) without a request it removes modules that nobody uses, unless it is to keep them.",
    {"-V, --version": "show the version", "-h, --help": "show this text"},
    MODUTILS_VERSION.format("kerneld"),
)
_LONGEST = 1 << 31


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    for _ in console.options(line):
        pass
    daemon = parse(line.operands)
    with console.machine(change=True) as kernel:
        loader = kernel[ModuleLoader]
        loader.daemon = daemon
        loader.arm()
    return 0


def parse(words: Sequence[str]) -> Daemon | None:
    """The daemon that words ask for, None for none.

    >>> parse(["delay=10"]), parse(["stop"])
    (Daemon(delay=10, keep=False), None)

    Raises:
        ToolError: A word makes no sense.
    """
    if list(words) == ["stop"]:
        return None
    daemon = Daemon()
    for word in words:
        name, _, value = word.partition("=")
        if word == "keep":
            daemon = daemon._replace(keep=True)
        elif name == "delay" and value.isdecimal() and 0 < int(value) < _LONGEST:
            daemon = daemon._replace(delay=int(value))
        else:
            raise ToolError(f"kerneld: unknown argument '{word}'")
    return daemon
