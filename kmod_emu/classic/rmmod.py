"""rmmod of modutils: delete_module(2), by name, in stacks, or for all that nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.query import kernel_info
from kmod_emu.classic.tool import MODUTILS_VERSION, Report, run
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.console import UID, UID_HELP, user_id
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.classic.program import Program
    from kmod_emu.classic.query import KernelInfo
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "rmmod",
    "NAME...",
    "Remove modules from the kept machine.",
    {
        "-a, --all": "remove what insmod -k loaded and nobody uses; what was used lately, the next time",
        "-r, --stacks": "also remove what only these modules use",
        "-s, --syslog": "report to /var/log/syslog of the machine",
        UID: UID_HELP,
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
    MODUTILS_VERSION.format("rmmod"),
)


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    everything = stacks = syslog = False
    uid = 0
    for key, value in console.options(line):
        everything |= key == "a"
        stacks |= key == "r"
        syslog |= key == "s"
        if key == "uid":
            uid = user_id(value)
    if not line.operands and not everything:
        raise ToolError(COMMAND.usage().rstrip("\n"))

    def work(program: Program, report: Report) -> object:
        if everything:
            return sweep(program)
        return remove(program, line.operands, stacks=stacks)

    return run(console, "rmmod", work, uid=uid, syslog=syslog)


async def sweep(program: Program) -> None:
    """What -a asks for."""
    try:
        await program.call("delete_module", 0)
    except Killed:
        raise
    except KernelError as error:
        raise ToolError(f"rmmod: {error.strerror}") from error


async def remove(program: Program, names: Sequence[str], *, stacks: bool = False) -> None:
    """Remove modules; one that cannot go does not keep the others.

    Raises:
        ToolError: The messages, when all was tried.
    """
    errors: list[str] = []
    if stacks:
        info = await kernel_info(program, symbols=False, refs=True)
        loaded = {module.name for module in info.modules}
        errors = [f"rmmod: module {name} not loaded" for name in names if name not in loaded]
        names = _stack(info, names, errors)
    for name in names:
        try:
            await program.call("delete_module", program.text(name))
        except Killed:
            raise
        except KernelError as error:
            if error.errno == errno.ENOENT and not stacks:
                errors.append(f"rmmod: module {name} is not loaded")
            else:
                errors.append(f"{'rmmod: ' if stacks else ''}{name}: {error.strerror}")
    if errors:
        raise ToolError("\n".join(errors))


def _stack(info: KernelInfo, names: Sequence[str], errors: list[str]) -> list[str]:
    """What goes, users first: the named modules, and what only they and others that go need."""
    going: list[str] = []
    for module in info.modules:  # the newest, which others cannot use, come first
        wanted = module.name in names
        if not all(user in going for user in module.refs) or not (wanted or module.refs):
            if wanted:
                errors.append(f"rmmod: {module.name} is in use")
            continue
        going.append(module.name)
    return going
