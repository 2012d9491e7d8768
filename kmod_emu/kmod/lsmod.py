"""lsmod: the list of modules (kmod 30, tools/lsmod.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.printk import escape

if TYPE_CHECKING:
    from kmod_emu.api import Kernel

HEADER = "Module                  Size  Used by\n"


def lsmod(kernel: Kernel) -> str:
    """The table, newest module first."""
    lines = [HEADER]
    for module in kernel.modules:
        holders = ",".join(escape(user.name.encode("utf-8", "surrogateescape")) for user in module.users)
        name = escape(module.name.encode("utf-8", "surrogateescape"))
        line = f"{name:<19} {module.size:8d}  {module.refcnt}"
        lines.append(f"{line} {holders}\n" if holders else f"{line}\n")
    return "".join(lines)
