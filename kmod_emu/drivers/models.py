"""The models of devices that are shipped, by the names under which they are asked for and saved."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Shipped(NamedTuple):
    """One of them.

    Attributes:
        place: Its module.
        name: Its class there.
        what: What it is.
        driver: The kernel's drivers that it is for.
    """

    place: str
    name: str
    what: str
    driver: str


SHIPPED = {
    "e1000": Shipped("kmod_emu.devices.e1000", "E1000", "an Ethernet card, Intel 82540EM", "e1000"),
    "lm75": Shipped("kmod_emu.devices.lm75", "Lm75", "a thermometer on I2C", "lm75"),
    "mouse": Shipped("kmod_emu.devices.mouse", "Mouse", "a USB mouse", "usbhid, hid-generic"),
    "nvme": Shipped("kmod_emu.devices.nvme", "Nvme", "an NVMe disk", "nvme"),
}


def find(name: str) -> Any:
    """The class of a model."""
    shipped = SHIPPED[name]
    return getattr(importlib.import_module(shipped.place), shipped.name)


def keys(name: str) -> dict[str, str | int | float]:
    """What may be said behind a model's name, and what holds if it is not."""
    from inspect import signature

    parameters = signature(find(name)).parameters.values()
    return {it.name: it.default for it in parameters if isinstance(it.default, (str, int, float))}


def kind_of(model: Any) -> str:
    """The name of a model, "" for somebody else's."""
    place = (type(model).__module__, type(model).__qualname__)
    return next((name for name, it in SHIPPED.items() if it[:2] == place), "")


def make(name: str) -> Any:
    """A model that its saved state is to be given to; None for somebody else's."""
    return find(name)() if name in SHIPPED else None
