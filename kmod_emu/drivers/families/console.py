"""Consoles that modules bring: kept and told of; the log is not written to them (kernel/printk/printk.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.registration import Family, Registrations
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_CONSOLE = Family("console", "", absent=errno.ENODEV)
_ENABLED = 4  # CON_ENABLED


def _name(console: StructView) -> str:
    return f"{console.text('name')}{console.signed('index')}"


@export("void register_console(struct console *newcon)", Fidelity.REGISTRATION)
def register_console(kernel: KernelCore, newcon: StructView) -> None:
    """Nobody asked for it on the command line: it counts only if it is enabled by itself."""
    newcon.index = max(newcon.signed("index"), 0)
    if newcon.get("flags") & _ENABLED:
        kernel[Registrations].put(_CONSOLE.kind, newcon.address, _name(newcon), (), 0)
        kernel.printk.emit(f"printk: console [{_name(newcon)}] enabled\n", 6)


@export("int unregister_console(struct console *console)", Fidelity.REGISTRATION)
def unregister_console(kernel: KernelCore, console: StructView) -> int:
    """ENODEV for one that does not count, which is told of, too."""
    kernel.printk.emit(f"printk: console [{_name(console)}] disabled\n", 6)
    return kernel[Registrations].remove(_CONSOLE, console.address)
