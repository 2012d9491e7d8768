"""kmod-emu: load, run and watch real Linux kernel modules in a CPU emulator.

    from kmod_emu import Kernel, KernelError

Imports nothing heavy by itself: the parts are loaded when they are first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed, Unimplemented

if TYPE_CHECKING:
    from kmod_emu import samples
    from kmod_emu.api import Kernel, Snapshot
    from kmod_emu.module.modules import Module
    from kmod_emu.user.process import Process

__all__ = ["Kernel", "KernelError", "Killed", "Module", "Process", "Snapshot", "Unimplemented", "samples"]
__version__ = "0.1.0"

_LAZY = {
    "Kernel": "kmod_emu.api",
    "Snapshot": "kmod_emu.api",
    "Module": "kmod_emu.module.modules",
    "Process": "kmod_emu.user.process",
}


def __getattr__(name: str) -> Any:
    if name == "samples":
        return import_module("kmod_emu.samples")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'kmod_emu' has no attribute {name!r}")
