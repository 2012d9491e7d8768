"""What --explain prints behind a tool's message: the kernel's reason, and where on the host help lies."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, SleepsForever
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name, read_module
from kmod_emu.kmod.symbols import Symbols
from kmod_emu.module import explain
from kmod_emu.module.kmod import Kmod
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.kmod.context import Context

EXPLAIN, EXPLAIN_HELP = "--explain", "after an error, say why and what to do (not in kmod)"


def loading(kernel: Kernel, path: str, error: BaseException | None) -> Iterator[str]:
    """Why a file was not loaded.

    Args:
        kernel: The machine.
        path: The file.
        error: What the system call failed with; None where there was none.
    """
    if isinstance(error, SleepsForever):
        return  # said already
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


def module_directory(kernel: Kernel) -> str:
    """Where the machine's modules are: as it was told, else this computer's for the machine's release."""
    return kernel[Kmod].directory or f"/lib/modules/{kernel.profile.release}"


def not_found(kernel: Kernel, name: str) -> Iterator[str]:
    """Why modprobe knows no module of a name."""
    directory = module_directory(kernel)
    if not os.path.exists(f"{directory}/modules.dep.bin"):
        yield f"there is no {directory}/modules.dep.bin: `boot --modules DIR` names another directory"
    else:
        yield f"{directory} has no module and no alias '{name}'; `depmod` brings its indexes up to date"


def _who_exports(kernel: Kernel, path: str, symbols: list[str]) -> Iterator[str]:
    """Modules that export what is missing: beside the file, in the module directory, or named in the file."""
    from kmod_emu.kmod.config import Config
    from kmod_emu.kmod.context import Context

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
            names = explain.few(sorted(name.decode("utf-8", "surrogateescape") for name in exported))
            yield f"{place} exports {names}: load it first"
    context = Context(module_directory(kernel), Config(), lambda place, text: None)
    for name, missing in _in_directory(context, symbols).items():
        if name not in found:
            found.add(name)
            place = context.module(name).find_path() or name
            yield f"{place} exports {explain.few(missing)}: `modprobe {name}` loads it"
    loaded = {module.name for module in kernel.modules}
    needed = [name for name in _depends(path) if name not in loaded | found]
    if needed:
        yield f"the module says that it depends on {', '.join(needed)}, not loaded: load that first"


def _in_directory(context: Context, symbols: list[str]) -> dict[str, list[str]]:
    """What modules.symbols knows: modules, and what each exports of the missing symbols."""
    found: dict[str, list[str]] = {}
    with suppress(ToolError):  # a damaged index explains nothing
        for symbol in symbols:
            name = context.search("modules.symbols", f"symbol:{symbol}")
            if name is not None:
                found.setdefault(name, []).append(symbol)
    return found


def _depends(path: str) -> list[str]:
    for text in Symbols(read_module(path).image).modinfo():
        if text.startswith(b"depends="):
            return [name for name in text[8:].decode("utf-8", "replace").replace("-", "_").split(",") if name]
    return []
