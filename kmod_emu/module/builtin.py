"""Modules that are built into the kernel and have a directory in /sys/module (kernel/params.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node, directory
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.module.modules import Modules
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


def builtin_directories(kernel: KernelCore) -> dict[str, Node]:
    """The directories, by name."""
    return {
        module: directory(partial(_files, kernel, module, parameters))
        for module, parameters in kernel.profile.builtin_modules.items()
    }


def _files(kernel: KernelCore, module: str, parameters: Mapping[str, int]) -> dict[str, Node]:
    files = {"uevent": Node(0o200, write=lambda task, data: None, size=PAGE_SIZE)}
    if parameters:
        shown = {name: _parameter(kernel, f"{module}.{name}", mode) for name, mode in parameters.items()}
        files["parameters"] = directory(shown)
    return files


def _parameter(kernel: KernelCore, name: str, mode: int) -> Node:
    if name == "module.sig_enforce":
        return Node(
            mode,
            read=partial(_show_sig_enforce, kernel),
            write=partial(_set_sig_enforce, kernel),
            size=PAGE_SIZE,
        )

    def unknown(*_: object) -> None:
        raise KernelError(errno.EIO, f"this machine does not keep {name}, a parameter of a built-in module")

    return Node(mode, read=unknown, write=unknown, size=PAGE_SIZE)


def _show_sig_enforce(kernel: KernelCore, task: Task) -> str:
    return "Y\n" if kernel[Modules].sig_enforce else "N\n"


def _set_sig_enforce(kernel: KernelCore, task: Task, data: bytes) -> None:
    """param_set_bool_enable_only(): once on, it stays on."""
    letter = data[:1].decode("latin-1")
    if letter not in set("yYtT1nNfF0"):
        raise KernelError(errno.EINVAL, "Y or N is expected")
    if letter in set("yYtT1"):
        kernel[Modules].sig_enforce = True
    elif kernel[Modules].sig_enforce:
        raise KernelError(errno.EROFS, "signatures cannot be made optional again")
