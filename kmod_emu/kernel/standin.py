"""Functions that merely answer, always the same: declared by prototype and answer.

`KernelCore.stand_ins` keeps which were called: whoever compares with a real kernel should know that what
agrees may do so by accident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Fidelity, export, symbol_name

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def declare_answers(module: str, answers: dict[str, int], fidelity: Fidelity = Fidelity.APPROXIMATE) -> None:
    """Make exports of them, by prototype; they count as functions of the module that declares them."""
    for prototype, value in answers.items():
        _declare(prototype, value, fidelity, module)


def _declare(prototype: str, value: int, fidelity: Fidelity, module: str) -> None:
    name = symbol_name(prototype)

    @export(prototype, fidelity)
    def answer(kernel: KernelCore, *arguments: int) -> int:
        """Always the same answer: there is nothing of the kind on this machine."""
        kernel.stand_ins.add(name)
        return value

    answer.__module__ = module
