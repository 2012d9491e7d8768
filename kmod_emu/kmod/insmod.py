"""insmod: load one module file (kmod 30, tools/insmod.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.kmod.console import UID, UID_HELP, user_id
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.explain import EXPLAIN, EXPLAIN_HELP, loading
from kmod_emu.kmod.files import ModuleFile, read_module
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.module.explain import waits_forever
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "insmod",
    "FILE [NAME=VALUE]...",
    "Load the module FILE into the kept machine.",
    {
        "-f, --force": "ignore for which kernel it was built: dangerous, as on Linux",
        "-s, --syslog": "accepted and ignored, as by kmod",
        "-v, --verbose": "accepted and ignored",
        "-p": "",
        UID: UID_HELP,
        EXPLAIN: EXPLAIN_HELP,
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
)
_MESSAGES = {
    errno.ENOEXEC: "Invalid module format",
    errno.ENOENT: "Unknown symbol in module",
    errno.ESRCH: "Module has wrong symbol version",
    errno.EINVAL: "Invalid parameters",
}
_FORCE = 3  # MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    force, explain, uid = False, False, 0
    for key, value in console.options(line):
        if key == "f":
            force = True
        elif key == "uid":
            uid = user_id(value)
        elif key == "explain":
            explain = True
    if not line.operands:
        raise ToolError("insmod: ERROR: missing filename.")
    path, *params = line.operands
    if path == "-":
        raise ToolError("insmod: ERROR: this tool does not support loading from stdin!")
    with console.machine(change=True) as kernel:
        try:
            insmod(kernel, path, params, force=force, uid=uid)
        except ToolError as error:
            if explain:
                error.reasons = list(loading(kernel, path, error.__cause__))
            raise
    return 0


def message(number: int) -> str:
    """What insmod says for an errno.

    >>> message(8), message(17)
    ('Invalid module format', 'File exists')
    """
    return _MESSAGES.get(number) or errno.strerror(number)


def load_file(path: str) -> ModuleFile:
    """Read the file as insmod does.

    Raises:
        ToolError: "could not load module" for a file that is not there, "could not insert module" for one
            that is there and cannot be used.
    """
    try:
        os.stat(path)
    except OSError as error:
        raise ToolError(f"insmod: ERROR: could not load module {path}: {error.strerror}") from None
    try:
        return read_module(path)
    except OSError as error:
        reason = _MESSAGES.get(error.errno or 0) or error.strerror or str(error)
        raise ToolError(f"insmod: ERROR: could not insert module {path}: {reason}") from None


def insmod(
    kernel: Kernel, path: str, params: Sequence[str] = (), *, force: bool = False, uid: int = 0
) -> None:
    """Load a file with finit_module(2); what was compressed, with init_module(2), as kmod does.

    Args:
        kernel: The machine.
        path: The file.
        params: "name=value" each.
        force: Ignore version magic and symbol versions.
        uid: Who calls.

    Raises:
        ToolError: insmod's message.
        Killed: insmod died in the kernel.
    """
    image, compressed, _ = load_file(path)
    with kernel.process(uid=uid, comm="insmod") as process:
        try:
            if compressed and not force:  # kmod strips what -f ignores: to the kernel, that is the same
                process.init_module(image, " ".join(params))
            else:
                process.finit_module(image, " ".join(params), _FORCE if force else 0)
        except Killed:
            raise
        except KernelError as error:
            raise refused(kernel, path, error) from error


def refused(kernel: Kernel, path: str, error: KernelError) -> ToolError:
    """The tool's error for a refused system call; a call that never returns has no message."""
    if isinstance(error, SleepsForever):
        return ToolError(f"kmod-emu: insmod waits for ever: {waits_forever(kernel, error)}")
    return ToolError(f"insmod: ERROR: could not insert module {path}: {message(error.errno)}")
