"""What init_module(2) checks of the `struct module` that insmod built (kernel/module.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import MOD_AUTOCLEAN, REF, SYMBOL
from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_MASK64 = (1 << 64) - 1
_EX_TABLE_ENTRY = 16


def check_header(kernel: KernelCore, module: StructView, created: int, namelen: int) -> None:
    """Sizes and pointers must stay within the module's memory.

    Args:
        kernel: The machine.
        module: The header, copied to its place.
        created: Bytes that create_module(2) reserved.
        namelen: Of the name, without its NUL.

    Raises:
        KernelError: EINVAL, with the kernel's message in the log.
    """
    if complaint := _complaint(module, created, namelen):
        kernel.printk.emit(f"init_module: {complaint}\n", 3)
        raise KernelError(errno.EINVAL, complaint)


def _complaint(module: StructView, created: int, namelen: int) -> str:
    """The first thing that is wrong, "" if nothing is."""
    if module.size > created:
        return "Size of initialized module exceeds size of created module."
    for member, length, optional in (
        ("name", namelen, False),
        ("syms", module.nsyms * SYMBOL.size, not module.nsyms),
        ("deps", module.ndeps * REF.size, not module.ndeps),
        ("init", 0, not module.init),
        ("cleanup", 0, not module.cleanup),
    ):
        if not optional and not _within(module, module.get(member), length):
            return f"mod->{member} out of bounds."
    if not _ex_table_fits(module):
        return "mod->ex_table_* invalid."
    if module.flags & ~MOD_AUTOCLEAN:
        return "mod->flags invalid."
    return _optional_members(module)


def _optional_members(module: StructView) -> str:
    """Those behind what every insmod knows, as far as the header goes."""
    present = ModuleList.present
    if present(module, "can_unload") and module.can_unload and not _within(module, module.can_unload, 0):
        return "mod->can_unload out of bounds."
    for part in ("kallsyms", "archdata"):
        if not present(module, f"{part}_end"):
            continue
        start, end = module.get(f"{part}_start"), module.get(f"{part}_end")
        if end and not (_within(module, start, 0) and _within(module, end, 0)):
            return f"mod->{part} out of bounds."
        if start > end:
            return f"mod->{part} invalid."
    if present(module, "kernel_data") and module.kernel_data:
        return "mod->kernel_data must be zero."
    return ""


def _within(module: StructView, pointer: int, length: int) -> bool:
    """mod_bound()."""
    start, end = module.address + module.size_of_struct, module.address + module.size
    return pointer >= start and (pointer + length & _MASK64) <= end


def _ex_table_fits(module: StructView) -> bool:
    start, end = module.ex_table_start, module.ex_table_end
    if start > end or (start - end & _MASK64) % _EX_TABLE_ENTRY:
        return False
    inside = start >= module.address + module.size_of_struct and end < module.address + module.size
    return not start or inside
