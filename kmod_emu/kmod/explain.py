"""What --explain prints behind a tool's message: the kernel's reason, and where on the host help lies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kmod.files import module_name, read_module
from kmod_emu.kmod.symbols import Symbols
from kmod_emu.module import explain
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.errors import ToolError

EXPLAIN, EXPLAIN_HELP = "--explain", "after an error, say why and what to do (not in kmod)"


def loading(kernel: Kernel, path: str, error: BaseException | None) -> Iterator[str]:
    """Why a file was not loaded.

    Args:
        kernel: The machine.
        path: The file.
        error: What the system call failed with; None where there was none.
    """
    if isinstance(error, KernelError) and error.explanation:
        yield error.explanation
    if isinstance(error, explain.UnresolvedSymbols):
        yield from _who_exports(kernel, path, error.missing)


def removing(kernel: Kernel, name: str, error: ToolError) -> Iterator[str]:
    """Why a module was not removed."""
    if isinstance(error.__cause__, KernelError):
        yield error.__cause__.explanation
        return
    module = kernel[Modules].find(name)
    if module is not None:
        yield explain.in_use(module)
    else:
        loaded = ", ".join(other.name for other in kernel.modules) or "none"
        yield f"no module of that name is loaded; loaded are: {loaded}"


def _who_exports(kernel: Kernel, path: str, symbols: list[str]) -> Iterator[str]:
    """Modules beside the file, or named in it, that export what is missing."""
    wanted = {name.encode("utf-8", "surrogateescape") for name in symbols}
    directory = os.path.dirname(path)
    found = set()
    for neighbour in sorted(os.listdir(directory or ".")):
        place = os.path.join(directory, neighbour)
        if ".ko" not in neighbour or os.path.abspath(place) == os.path.abspath(path):
            continue
        try:
            exported = wanted.intersection(name for name, _ in Symbols(read_module(place).image).exports())
        except OSError:
            continue
        if exported:
            found.add(module_name(neighbour))
            names = ", ".join(sorted(name.decode("utf-8", "surrogateescape") for name in exported))
            yield f"{place} exports {names}: load it first"
    loaded = {module.name for module in kernel.modules}
    needed = [name for name in _depends(path) if name not in loaded | found]
    if needed:
        yield f"the module says that it depends on {', '.join(needed)}, not loaded: load that first"


def _depends(path: str) -> list[str]:
    for text in Symbols(read_module(path).image).modinfo():
        if text.startswith(b"depends="):
            return [name for name in text[8:].decode("utf-8", "replace").replace("-", "_").split(",") if name]
    return []
