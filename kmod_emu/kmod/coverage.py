"""Which kernel functions a module imports, and which of them this machine has; nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel.exports import registered
from kmod_emu.kernel.symbols import Origin
from kmod_emu.kmod.files import read_module
from kmod_emu.kmod.symbols import Symbols

if TYPE_CHECKING:
    from kmod_emu.api import Kernel

MISSING = "missing"
OTHER = "another module's"


class Import(NamedTuple):
    """One imported symbol.

    Attributes:
        name: The symbol.
        status: exact, approximate, registration only, missing, or another module's (the release's kernel does
            not export it).
        prototype: As the kernel was built with it, "" if that is not known.
    """

    name: str
    status: str
    prototype: str


def imports(path: str) -> list[str]:
    """The symbols that a module file imports, sorted.

    Raises:
        OSError: It cannot be read, or is no module.
    """
    needs = Symbols(read_module(path).image).needs()
    return sorted({name.decode("utf-8", "backslashreplace") for name, _, _ in needs} - {"module_layout"})


def status(kernel: Kernel, name: str) -> str:
    """How much of an export the machine has."""
    symbol = kernel.symbols.find(name)
    if symbol is None:
        return OTHER
    if symbol.origin is Origin.ABSENT:
        return MISSING
    handler = registered().get(name)
    return handler.fidelity.value if handler and symbol.origin is not Origin.IMAGE else "exact"


def coverage(kernel: Kernel, names: list[str]) -> list[Import]:
    """The imports with what is there of each."""
    return [Import(name, status(kernel, name), kernel.profile.prototype(name) or "") for name in names]
