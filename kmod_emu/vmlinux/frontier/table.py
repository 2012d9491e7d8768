"""The declared table: which functions of a distribution's kernel Python serves instead, and why.

A declaration names functions by their symbols. A kernel that has no function of a name leaves the declaration
out, so one table serves all releases. There are four kinds:

- `shared`: the handler of the stub base kernel, under the same name, serves the function;
- `replace`: a handler of its own does, declared as an export is (kernel/exports.py);
- `nothing`: the function has nothing to do on this machine and returns at once;
- `answers`: likewise one that has a result, which is 0. Who compares with a real kernel is told of such calls
  (`KernelCore.stand_ins`), since what agrees then may do so by accident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kmod_emu.kernel.exports import Fidelity, Handler, registered, symbol_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

F = TypeVar("F", bound="Callable[..., Any]")


class Replaced(NamedTuple):
    """One row: a function, what serves it, the file that says so, and why it is not the kernel's own.

    Attributes:
        first: Guest code that runs before, and returns by itself where there is nothing to serve.
    """

    name: str
    handler: Handler
    subsystem: str
    reason: str
    first: bytes = b""


_table: dict[str, Replaced] = {}  # filled while modules are imported, constant afterwards


class Frontier:
    """The rows of one subsystem.

    Args:
        module: `__name__` of the file.
    """

    def __init__(self, module: str) -> None:
        self._subsystem = module.rpartition(".")[2]

    def shared(self, reason: str, names: str) -> None:
        """Functions, separated by blanks, that the handlers of the stub kernel serve.

        `NAME.part.0` is what a compiler has split off behind a function's first test. Where it has the same
        arguments, and callers that made the test themselves, it is a row, too.
        """
        for name in names.split():
            self._add(name, registered()[name.partition(".")[0]], reason)

    def nothing(self, reason: str, names: str) -> None:
        """Functions that have nothing to do here."""
        for name in names.split():
            self._add(name, Handler(name, f"void {name}(void)", _nothing, Fidelity.APPROXIMATE), reason)

    def answers(self, reason: str, names: str) -> None:
        """Functions that have nothing to do here, and say 0."""
        for name in names.split():
            self._add(name, Handler(name, f"long {name}(void)", _answer(name), Fidelity.APPROXIMATE), reason)

    def replace(
        self, prototype: str, reason: str, fidelity: Fidelity = Fidelity.EXACT, first: bytes = b""
    ) -> Callable[[F], F]:
        """Decorator: the function serves the one that `prototype` declares, after the guest code `first`."""

        def register(function: F) -> F:
            name = symbol_name(prototype)
            self._add(name, Handler(name, prototype, function, fidelity), reason, first)
            return function

        return register

    def _add(self, name: str, handler: Handler, reason: str, first: bytes = b"") -> None:
        if name in _table:
            raise ValueError(f"{name} is declared twice: in {_table[name].subsystem} and {self._subsystem}")
        _table[name] = Replaced(name, handler, self._subsystem, reason, first)


def _nothing(kernel: KernelCore) -> None:
    """Nothing to do."""


def _answer(name: str) -> Callable[[KernelCore], int]:
    def answer(kernel: KernelCore) -> int:
        """Nothing to do, but the caller looks at the result."""
        kernel.stand_ins.add(name)
        return 0

    return answer


def declared() -> dict[str, Replaced]:
    """All rows that imported files have declared, by the function's name."""
    return _table
