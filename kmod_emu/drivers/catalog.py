"""Devices by what stands on a command line: `e1000`, `lm75,i2c=0x49`, `card.py:Card`.

A model's class has `wiring`: where it is plugged in, as keyword arguments of `Kernel.device`. What is written
behind the name replaces some of that, or is for the class.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.drivers.board import Board, Wiring
from kmod_emu.drivers.guarded import Guarded, summary
from kmod_emu.drivers.models import SHIPPED, find
from kmod_emu.errors import KernelError

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_NUMBERS = ("ports", "mmio", "size", "irq", "i2c", "spi", "bus", "class_code", "vectors")


class Spec(NamedTuple):
    """A device that was asked for.

    Attributes:
        text: In which words.
        model: It.
        wiring: Where it goes.
    """

    text: str
    model: Any
    wiring: Wiring

    def plug(self, kernel: KernelCore) -> Any:
        """Put it into a machine; what goes wrong in it later is a report.

        Raises:
            ValueError: It does not go there.
        """
        model = Guarded(kernel, self.text.partition(",")[0], self.model, self.wiring)
        try:
            kernel[Board].plug(model, self.wiring)
        except (KernelError, LookupError) as error:
            raise ValueError(getattr(error, "explanation", "") or str(error)) from None
        return self.model


def parse(text: str) -> Spec:
    """A device by its name or file.

    Raises:
        ValueError: There is none, or it cannot be made so: one sentence.
    """
    name, *words = text.split(",")
    factory = _find(name)
    wiring = getattr(factory, "wiring", {})
    if not isinstance(wiring, dict):
        raise ValueError(f"{name}: wiring is {wiring!r:.40}, and has to be a dictionary")
    wiring = dict(wiring)
    arguments = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} behind {name} is not NAME=VALUE")
        if key in _NUMBERS:
            wiring[key] = _number(key, value)
        elif key in Wiring._fields:
            wiring[key] = value
        else:
            arguments[key] = value
    if not wiring:
        raise ValueError(f"{name} does not say where it is plugged in: it needs a dictionary called wiring")
    if unknown := set(wiring) - set(Wiring._fields):
        raise ValueError(f"{name}: wiring has no {', '.join(map(str, sorted(unknown)))}; it has {_FIELDS}")
    for key, value in wiring.items():
        if not _fits(key, value):
            raise ValueError(f"{name}: {key} in wiring cannot be {value!r:.40}")
    try:
        return Spec(text, factory(**arguments), Wiring(**wiring))
    except Exception as error:  # whatever a user's class says
        why = str(error) if type(error) is ValueError else summary(error)
        raise ValueError(f"{name} cannot be made: {why}") from None


_FIELDS = ", ".join(Wiring._fields)


def _fits(key: str, value: Any) -> bool:
    if key == "bars":
        return isinstance(value, (list, tuple)) and all(map(_is_bar, value))
    return _is_number(value) if key in _NUMBERS else isinstance(value, str)


def _is_bar(value: Any) -> bool:
    pair = isinstance(value, (list, tuple)) and len(value) == 2
    return _is_number(value[1]) if pair else _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _number(key: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError(f"{key}={value}: a number is expected") from None


def _find(name: str) -> Any:
    if name in SHIPPED:
        return find(name)
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise ValueError(f"there is no device {name!r}; there are {', '.join(SHIPPED)}, and FILE.py:CLASS")
    if not os.path.isfile(file):
        raise ValueError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(f"device_{os.path.basename(file)[:-3]}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file says
        raise ValueError(f"{file} cannot be read as Python: {summary(error)}") from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        classes = [each for each, it in vars(module).items() if hasattr(it, "wiring")]
        there = f"; it has {', '.join(classes)}" if classes else ""
        raise ValueError(f"{file} has no class {attribute}{there}")
    return factory
