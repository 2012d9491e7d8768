"""rmmod: remove modules (kmod 30, tools/rmmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.printk import escape
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name
from kmod_emu.module.modules import Modules
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_TRUNC

if TYPE_CHECKING:
    from kmod_emu.api import Kernel

_REMOVE = "rmmod: ERROR: ../libkmod/libkmod-module.c:856 kmod_module_remove_module()"


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
        raise ToolError(f"rmmod: ERROR: Module {name} is not currently loaded")
    if module.users:
        holders = " ".join(escape(user.name.encode("utf-8", "surrogateescape")) for user in module.users)
        raise ToolError(f"rmmod: ERROR: Module {name} is in use by: {holders}")
    if module.refcnt:
        raise ToolError(f"rmmod: ERROR: Module {name} is in use")
