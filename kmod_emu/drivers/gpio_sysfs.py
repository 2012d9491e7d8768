"""GPIO lines that drivers show in /sys/class/gpio (drivers/gpio/gpiolib-sysfs.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.attributes import define_class, define_device_type
from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.device import create_device
from kmod_emu.drivers.gpio import (
    ACTIVE_LOW,
    Gpios,
    direction_output,
    drive_line,
    gpiod_direction_input,
    line_level,
)
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

define_class("gpio")
define_device_type(
    "gpio_line_type",
    "",
    "",
    {
        "value": (0o644, "gpio_value_show", "gpio_value_store"),
        "direction": (0o644, "gpio_direction_show", "gpio_direction_store"),
        "active_low": (0o644, "gpio_active_low_show", "gpio_active_low_store"),
    },
)
_SHOW = "struct device *dev, struct device_attribute *attr, char *buf"
_STORE = "struct device *dev, struct device_attribute *attr, const char *buf, size_t size"


@export("int gpiod_export(struct gpio_desc *desc, bool direction_may_change)", Fidelity.APPROXIMATE)
async def gpiod_export(kernel: KernelCore, desc: int, direction_may_change: int) -> int:
    """Show a line that was requested, always with a `direction`, and without an `edge`."""
    number = kernel[Gpios].number(desc)
    pin = kernel[Gpios].pin(number)
    if pin is None or pin.label is None:
        return -errno.EINVAL
    if _device(kernel, number):
        return -errno.EPERM
    cls, name = kernel.symbol("gpio_class"), b"gpio%d" % number
    dev = await create_device(kernel, cls, 0, 0, desc, 0, name, "gpio_line_type")
    return 0 if dev in kernel[Devices].devices else dev - (1 << 64)


@export("void gpiod_unexport(struct gpio_desc *desc)")
async def gpiod_unexport(kernel: KernelCore, desc: int) -> None:
    """Show it no longer."""
    dev = _device(kernel, kernel[Gpios].number(desc))
    if dev:
        await kernel[Devices].delete(dev)
        await kernel.kobjects.put(dev)


def _device(kernel: KernelCore, number: int) -> int:
    """The device that shows a line, 0 for none."""
    cls, name = kernel.symbol("gpio_class"), f"gpio{number}"
    for dev in kernel[Devices].devices:
        if kernel.view("device", dev).get("class") == cls and kernel.kobjects.name(dev) == name:
            return dev
    return 0


def _desc(kernel: KernelCore, dev: int) -> int:
    return kernel.view("device", dev).driver_data


def _put(kernel: KernelCore, buf: int, text: str) -> int:
    kernel.memory.write(buf, text.encode() + b"\n\0")
    return len(text) + 1


def _output(kernel: KernelCore, desc: int) -> bool:
    pin = kernel[Gpios].pin(kernel[Gpios].number(desc))
    return pin is not None and pin.output


def _number(kernel: KernelCore, buf: int) -> int | None:
    text = kernel.memory.read_text(buf).strip()
    return int(text) if text.lstrip("+-").isdigit() else None


@export(f"ssize_t gpio_value_show({_SHOW})")
def gpio_value_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`value`: its level."""
    return _put(kernel, buf, str(line_level(kernel, _desc(kernel, dev), raw=False)))


@export(f"ssize_t gpio_value_store({_STORE})")
def gpio_value_store(kernel: KernelCore, dev: int, attr: int, buf: int, size: int) -> int:
    """Set it, if it is an output."""
    value = _number(kernel, buf)
    if not _output(kernel, _desc(kernel, dev)):
        return -errno.EPERM
    if value is None:
        return -errno.EINVAL
    drive_line(kernel, _desc(kernel, dev), value, raw=False)
    return size


@export(f"ssize_t gpio_direction_show({_SHOW})")
def gpio_direction_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`direction`."""
    return _put(kernel, buf, "out" if _output(kernel, _desc(kernel, dev)) else "in")


@export(f"ssize_t gpio_direction_store({_STORE})")
def gpio_direction_store(kernel: KernelCore, dev: int, attr: int, buf: int, size: int) -> int:
    """`in`, `out`, or an output of a level: `high`, `low`."""
    word, desc = kernel.memory.read_text(buf).removesuffix("\n"), _desc(kernel, dev)
    if word == "in":
        gpiod_direction_input(kernel, desc)
    elif word in ("out", "low", "high"):
        direction_output(kernel, desc, int(word == "high"), raw=True)
    else:
        return -errno.EINVAL
    return size


@export(f"ssize_t gpio_active_low_show({_SHOW})")
def gpio_active_low_show(kernel: KernelCore, dev: int, attr: int, buf: int) -> int:
    """`active_low`: whether its meaning is turned round."""
    flags = kernel.view("gpio_desc", _desc(kernel, dev)).flags
    return _put(kernel, buf, str(int(bool(flags & ACTIVE_LOW))))


@export(f"ssize_t gpio_active_low_store({_STORE})")
def gpio_active_low_store(kernel: KernelCore, dev: int, attr: int, buf: int, size: int) -> int:
    """Turn it round, or back."""
    value, view = _number(kernel, buf), kernel.view("gpio_desc", _desc(kernel, dev))
    if value is None:
        return -errno.EINVAL
    view.flags = view.flags | ACTIVE_LOW if value else view.flags & ~ACTIVE_LOW
    return size
