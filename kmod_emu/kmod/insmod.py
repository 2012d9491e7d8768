"""insmod: load one module file (kmod 30, tools/insmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import read_module
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.api import Kernel

_MESSAGES = {
    errno.ENOEXEC: "Invalid module format",
    errno.ENOENT: "Unknown symbol in module",
    errno.ESRCH: "Module has wrong symbol version",
    errno.EINVAL: "Invalid parameters",
}


def message(number: int) -> str:
    """What insmod says for an errno.

    >>> message(8), message(17)
    ('Invalid module format', 'File exists')
    """
    return _MESSAGES.get(number) or errno.strerror(number)


def load_file(path: str) -> bytes:
    """Read the file as insmod does.

    Raises:
        ToolError: "could not load module".
    """
    try:
        return read_module(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ToolError(f"insmod: ERROR: could not load module {path}: {reason}") from None


def insmod(kernel: Kernel, path: str, params: Sequence[str] = (), *, uid: int = 0) -> None:
    """Load a file with finit_module(2).

    Raises:
        ToolError: insmod's message.
        Killed: insmod died in the kernel.
    """
    image = load_file(path)
    with kernel.process(uid=uid, comm="insmod") as process:
        try:
            process.finit_module(image, " ".join(params))
        except Killed:
            raise
        except KernelError as error:
            raise refused(path, error) from error


def refused(path: str, error: KernelError) -> ToolError:
    """The tool's error for a refused system call."""
    return ToolError(f"insmod: ERROR: could not insert module {path}: {message(error.errno)}")
