"""The classic path: loading a module as Linux 2.4 did, with insmod as the linker, in user space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmod_emu.classic.kernel import ClassicKernel

__all__ = ["ClassicKernel"]


def __getattr__(name: str) -> Any:
    if name == "ClassicKernel":
        from kmod_emu.classic.kernel import ClassicKernel

        return ClassicKernel
    raise AttributeError(f"module 'kmod_emu.classic' has no attribute {name!r}")
