"""The registry of exports that Python serves: one decorated function each.

    @export("int misc_register(struct miscdevice *misc)")
    def misc_register(kernel: KernelCore, misc: StructView) -> int: ...

The C prototype decides how registers are read and the result is written. The annotation of a Python
parameter picks how a pointer looks: `int` is the address, `str` and `bytes` the NUL-terminated text it
points to, `StructView` a typed view on the struct. A variadic function gets an `Arguments` reader last.
A handler that blocks or calls guest code is `async`. Raising `KernelError` returns the negative errno.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


class Fidelity(Enum):
    """How much of the kernel function's behaviour an export has."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    REGISTRATION = "registration only"


class Convention(Enum):
    """How a function takes its arguments."""

    C = "C"
    REGISTERS = "registers"  # all general registers pass through, for `__get_user_4` and its like


class Handler(NamedTuple):
    """One export served by Python: a function, or data that `function` lays out at boot.

    Attributes:
        declaration: The C prototype, or the declaration of a data symbol.
        function: Called with the kernel and the decoded arguments; for data, with the kernel and the
            address of `size` zeroed bytes.
        size: Bytes of a data symbol, 0 for a function; a callable gets the kernel.
    """

    name: str
    declaration: str
    function: Callable[..., Any]
    fidelity: Fidelity
    convention: Convention = Convention.C
    size: int | Callable[[Any], int] = 0

    @property
    def is_data(self) -> bool:
        """Whether the symbol is a variable."""
        return self.size != 0


_registry: dict[str, Handler] = {}  # filled while modules are imported, constant afterwards


def symbol_name(declaration: str) -> str:
    """The name that a C declaration declares.

    >>> symbol_name("void *__kmalloc(size_t size, gfp_t flags)"), symbol_name("unsigned long jiffies")
    ('__kmalloc', 'jiffies')
    """
    return declaration.partition("(")[0].split("[")[0].split()[-1].lstrip("*")


def export(
    prototype: str, fidelity: Fidelity = Fidelity.EXACT, convention: Convention = Convention.C
) -> Callable[[F], F]:
    """Register the decorated function as the export that `prototype` declares."""

    def register(function: F) -> F:
        handler = Handler(symbol_name(prototype), prototype, function, fidelity, convention)
        _registry[handler.name] = handler
        return function

    return register


def export_data(
    declaration: str, size: int | Callable[[Any], int] = 8, fidelity: Fidelity = Fidelity.EXACT
) -> Callable[[F], F]:
    """Register the decorated function as the initialiser of a data export of `size` bytes."""

    def register(function: F) -> F:
        handler = Handler(symbol_name(declaration), declaration, function, fidelity, size=size)
        _registry[handler.name] = handler
        return function

    return register


def registered() -> dict[str, Handler]:
    """All exports that imported modules have registered, by name."""
    return _registry
