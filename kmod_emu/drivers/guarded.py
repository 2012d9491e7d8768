"""A model of a device whose mistakes are reports: the driver gets what a broken device gives."""

from __future__ import annotations

import errno
import os
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.drivers.board import Wiring
    from kmod_emu.kernel.kernel import KernelCore

_ONES = (1 << 32) - 1
_ANSWERS = ("read", "transfer", "control")  # the methods that have one


class Guarded:
    """What the machine sees in place of the model.

    Args:
        kernel: Whose findings get the reports.
        name: What the model is called in them.
        model: It.
        wiring: Where it is: a bus has a way to say that something went wrong, registers have not.

    Attributes:
        model: It.
    """

    def __init__(self, kernel: KernelCore, name: str, model: Any, wiring: Wiring) -> None:
        self._kernel, self._name, self.model = kernel, name, model
        self._usb = wiring.usb is not None
        self._bus = wiring.i2c is not None or wiring.spi is not None or self._usb
        self._told: set[str] = set()

    def __getattr__(self, attribute: str) -> Any:
        it = getattr(self.model, attribute)  # the AttributeError is the one that is expected
        return self._guard(attribute, it) if callable(it) else it

    def _guard(self, method: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                answer = function(*arguments)
            except Exception as error:  # whatever it is
                if self._bus and isinstance(error, OSError):
                    raise
                return self._broken(f"{method}() raised {summary(error)}")
            if method in _ANSWERS and not self._fits(answer, arguments):
                return self._broken(f"{method}() returned {answer!r:.60}")
            return answer

        return call

    def _fits(self, answer: Any, arguments: tuple[Any, ...]) -> bool:
        if not self._bus:
            return isinstance(answer, int)
        if self._usb and answer is None:
            return True
        if isinstance(answer, int):
            return 0 <= answer < 1 << 8 * arguments[-1] if isinstance(arguments[-1], int) else False
        return isinstance(answer, (bytes, bytearray, memoryview)) or not arguments[-1]

    def _broken(self, what: str) -> int:
        if what not in self._told:
            self._told.add(what)
            self._kernel.findings.note("device model", f"the model of {self._name}: {what}")
        if self._bus:
            raise OSError(errno.EIO, "the model of the device is broken")
        return _ONES


def summary(error: Exception) -> str:
    """An exception in half a line, with its place."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    calls = traceback.extract_tb(error.__traceback__)
    own = [call for call in calls if call.filename != __file__]
    return f"{text} ({os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else text
