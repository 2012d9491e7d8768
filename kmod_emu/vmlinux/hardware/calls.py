"""What the kernel calls of the hardware that Python plays: methods of adapters, controllers and chips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kmod_emu.kernel.exports import Fidelity, Handler, registered, symbol_name

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_methods: dict[str, Handler] = {}  # filled while modules are imported, constant afterwards


def method(prototype: str) -> Callable[[F], F]:
    """Decorator: the function is the method that `prototype` declares."""

    def register(function: F) -> F:
        name = symbol_name(prototype)
        _methods[name] = Handler(name, prototype, function, Fidelity.EXACT)
        return function

    return register


def share(names: str) -> None:
    """Methods, separated by blanks, that models have on the stub kernel too."""
    for name in names.split():
        _methods[name] = registered()[name]


def methods() -> list[Handler]:
    """All that imported files have declared."""
    return list(_methods.values())
