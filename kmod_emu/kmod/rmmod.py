"""rmmod: remove modules (kmod 30, tools/rmmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.fs.order import sysfs_key
from kmod_emu.fs.syslog import Syslog
from kmod_emu.kmod.console import UID, UID_HELP, user_id
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.explain import EXPLAIN, EXPLAIN_HELP, removing
from kmod_emu.kmod.files import module_name
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.module.modules import Modules
from kmod_emu.text import escape
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_TRUNC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "rmmod",
    "MODULE...",
    "Remove MODULEs, given by name or file, from the kept machine.",
    {
        "-f, --force": "remove it even if it is in use: dangerous, as on Linux",
        "-s, --syslog": "messages go to the machine's /var/log/syslog instead of standard error",
        "-v, --verbose": "accepted; there is no more to tell",
        "-w": "",
        UID: UID_HELP,
        EXPLAIN: EXPLAIN_HELP,
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)

_REMOVE = "rmmod: ERROR: ../libkmod/libkmod-module.c:856 kmod_module_remove_module()"


def main(console: Console, args: Sequence[str]) -> int:
    """The command: tries all modules, and fails if one of them cannot be removed."""
    line = Getopt(COMMAND, args)
    force = explain = syslog = False
    uid = status = 0
    for key, value in console.options(line):
        if key == "f":
            force = True
        elif key == "uid":
            uid = user_id(value)
        elif key == "explain":
            explain = True
        elif key == "s":
            syslog = True
    if not line.operands:
        raise ToolError("rmmod: ERROR: missing module name.")
    with console.machine(change=True) as kernel:
        for argument in line.operands:
            try:
                rmmod(kernel, argument, force=force, uid=uid)
            except ToolError as error:
                if syslog:
                    kernel[Syslog].log("rmmod", str(error).replace("rmmod: ", ""))
                else:
                    console.err(str(error))
                for reason in removing(kernel, module_name(argument), error) if explain else ():
                    console.err(f"kmod-emu: {reason}")
                status = 1
    return status


def rmmod(kernel: Kernel, argument: str, *, force: bool = False, uid: int = 0) -> None:
    """Remove one module.

    Raises:
        ToolError: rmmod's message.
        Killed: rmmod died in the kernel.
    """
    name = module_name(argument)
    if not force:
        _check_in_use(kernel, name)
    flags = O_NONBLOCK | (O_TRUNC if force else 0)
    with kernel.process(uid=uid, comm="rmmod") as process:
        try:
            process.delete_module(name, flags)
        except Killed:
            raise
        except KernelError as error:
            text = f"{_REMOVE} could not remove '{name}': {error.strerror}\n"
            raise ToolError(
                f"{text}rmmod: ERROR: could not remove module {name}: {error.strerror}"
            ) from error


def _check_in_use(kernel: Kernel, name: str) -> None:
    """What rmmod reads from /sys before it asks the kernel."""
    module = kernel[Modules].find(name)
    if module is None:
        state = "builtin." if _is_builtin(kernel, name) else "not currently loaded"
        raise ToolError(f"rmmod: ERROR: Module {name} is {state}")
    if module.users:
        names = sorted((user.name for user in module.users), key=sysfs_key)
        holders = " ".join(escape(user.encode("utf-8", "surrogateescape")) for user in names)
        raise ToolError(f"rmmod: ERROR: Module {name} is in use by: {holders}")
    if module.refcnt:
        raise ToolError(f"rmmod: ERROR: Module {name} is in use")


def _is_builtin(kernel: Kernel, name: str) -> bool:
    """Whether the module directory says that the kernel has it in itself."""
    from kmod_emu.kmod.config import Config
    from kmod_emu.kmod.context import Context
    from kmod_emu.kmod.explain import module_directory

    context = Context(module_directory(kernel), Config(), lambda place, text: None)
    return context.module(name).is_builtin()
