"""The models of devices that are shipped, by the names under which they are asked for and saved."""

from __future__ import annotations

import importlib
from typing import Any

SHIPPED = {
    "e1000": ("kmod_emu.devices.e1000", "E1000"),
    "lm75": ("kmod_emu.devices.lm75", "Lm75"),
    "mouse": ("kmod_emu.devices.mouse", "Mouse"),
    "nvme": ("kmod_emu.devices.nvme", "Nvme"),
}


def find(name: str) -> Any:
    """The class of a model."""
    place, attribute = SHIPPED[name]
    return getattr(importlib.import_module(place), attribute)


def kind_of(model: Any) -> str:
    """The name of a model, "" for somebody else's."""
    place = (type(model).__module__, type(model).__qualname__)
    return next((name for name, it in SHIPPED.items() if it == place), "")


def make(name: str) -> Any:
    """A model that its saved state is to be given to; None for somebody else's."""
    return find(name)() if name in SHIPPED else None
