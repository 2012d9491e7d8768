"""request_module(): the kernel has user space load a module (kernel/kmod.c of Linux 2.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore


class ModuleLoader:
    """Who loads modules that the kernel asks for.

    Attributes:
        directory: The machine's /lib/modules/2.4.32 on the host; None if it has none.
    """

    def __init__(self, kernel: KernelCore, directory: str | None) -> None:
        self._kernel = kernel
        self.directory = directory
        kernel.request_module = self.request

    async def request(self, name: str) -> int:
        """request_module(): 0 whatever came of it."""
        return 0

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"directory": self.directory}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.directory = state["directory"]


async def request_module(kernel: KernelCore, module_name: bytes) -> int:
    """Have a module loaded by its name or an alias (kernel/kmod.c)."""
    return await kernel[ModuleLoader].request(os.fsdecode(module_name))


EXPORTS: dict[str, Callable[..., Any]] = {"int request_module(const char *module_name)": request_module}
