"""/proc/modules, /proc/ksyms and /proc/devices as 2.4 had them (kernel/module.c, fs/proc/proc_misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.char_dev import ClassicCharDevices
from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import (
    MOD_AUTOCLEAN,
    MOD_DELETED,
    MOD_INITIALIZING,
    MOD_RUNNING,
    MOD_USED_ONCE,
)
from kmod_emu.fs.tree import Node
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.procfs import Procfs
    from kmod_emu.kernel.kernel import KernelCore


def install(kernel: KernelCore, procfs: Procfs) -> None:
    """Add the files."""
    procfs.files["modules"] = Node(0o444, read=lambda task: proc_modules(kernel))
    procfs.files["ksyms"] = Node(0o444, read=lambda task: proc_ksyms(kernel))
    procfs.files["devices"] = Node(
        0o444, read=lambda task: f"Character devices:\n{kernel[ClassicCharDevices].text()}\nBlock devices:\n"
    )


def proc_modules(kernel: KernelCore) -> str:
    """One line a module, all together a page at most: what does not fit is left out, field by field."""
    text, left = "", PAGE_SIZE
    for module in kernel[ModuleList]:
        for field in (*fields(kernel, module), "\n"):
            left -= len(field.encode("utf-8", "surrogateescape"))
            if left < 0:
                return text
            text += field
    return text


def fields(kernel: KernelCore, module: StructView) -> Iterator[str]:
    """The fields of a line of /proc/modules (get_module_list)."""
    modules, flags = kernel[ModuleList], module.flags
    name = modules.name(module)
    yield name
    yield " " * (20 - len(name))
    yield f"{module.size:8d}"
    if flags & MOD_RUNNING:
        count = -1 if modules.has_can_unload(module) else module.signed("usecount")
        yield f"{count:4d}"
    yield from status(flags)
    users = modules.users(module)
    if users:
        yield " ["
        for number, user in enumerate(users):
            if number:
                yield " "
            yield user
        yield "]"


def status(flags: int) -> Iterator[str]:
    """The words in brackets."""
    if flags & MOD_DELETED:
        yield " (deleted)"
    elif flags & MOD_RUNNING:
        if flags & MOD_AUTOCLEAN:
            yield " (autoclean)"
        if not flags & MOD_USED_ONCE:
            yield " (unused)"
    elif flags & MOD_INITIALIZING:
        yield " (initializing)"
    else:
        yield " (uninitialized)"


def proc_ksyms(kernel: KernelCore) -> str:
    """Every exported symbol: of the newest module first, of the kernel last."""
    modules, lines = kernel[ModuleList], []
    for module in modules.everything():
        name = modules.name(module)
        owner = f"\t[{name}]" if name else ""
        lines += [f"{value:016x} {symbol}{owner}\n" for value, symbol in modules.symbols(module)]
    return "".join(lines)
