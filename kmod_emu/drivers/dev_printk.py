"""Messages of devices: dev_info() and its kin (drivers/base/core.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.core import Devices
from kmod_emu.kernel.errname import errname
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments

EPROBE_DEFER = 517
_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info")


def prefix(kernel: KernelCore, dev: int) -> str:
    """Driver, or bus or class, and name: `misc demo: `."""
    if not dev:
        return "(NULL device *): "
    view, text = kernel.view("device", dev), kernel[Devices].text
    if view.driver:
        who = text(kernel.view("device_driver", view.driver).get("name"))
    elif view.bus:
        who = text(kernel.view("bus_type", view.bus).get("name"))
    else:
        who = kernel[Devices].class_name(view.get("class")) if view.get("class") else ""
    named = text(view.init_name) or kernel.kobjects.name(dev)
    return f"{who} {named}: "


def _define(level: int, name: str) -> None:
    @export(f"void _dev_{name}(const struct device *dev, const char *fmt, ...)")
    def dev_message(kernel: KernelCore, dev: int, fmt: bytes, args: Arguments) -> None:
        """Print a message that begins with the device's name."""
        text = vsnprintf(fmt, args, kernel.format_context)
        kernel.printk.emit(prefix(kernel, dev).encode("utf-8", "surrogateescape") + text, level)


for _level, _name in enumerate(_LEVELS):
    _define(_level, _name)


@export("void _dev_printk(const char *level, const struct device *dev, const char *fmt, ...)")
def _dev_printk(kernel: KernelCore, level: int, dev: int, fmt: bytes, args: Arguments) -> None:
    """The same with the level as text (drivers/base/core.c)."""
    number = kernel.memory.read_u8(level + 1) - ord("0")
    text = vsnprintf(fmt, args, kernel.format_context)
    kernel.printk.emit(prefix(kernel, dev).encode("utf-8", "surrogateescape") + text, number & 7)


@export("int dev_err_probe(const struct device *dev, int err, const char *fmt, ...)")
def dev_err_probe(kernel: KernelCore, dev: int, err: int, fmt: bytes, args: Arguments) -> int:
    """Say why probe() fails, unless it is to be tried again; the error itself (drivers/base/core.c)."""
    if err != -EPROBE_DEFER:
        text = f"{prefix(kernel, dev)}error {errname(err) or err}: ".encode("utf-8", "surrogateescape")
        kernel.printk.emit(text + vsnprintf(fmt, args, kernel.format_context), 3)
    return err


@export("const char *dev_driver_string(const struct device *dev)")
def dev_driver_string(kernel: KernelCore, dev: int) -> int:
    """Name of its driver, or of its bus or class, or "" (drivers/base/core.c)."""
    view = kernel.view("device", dev)
    for member, struct in (("driver", "device_driver"), ("bus", "bus_type"), ("class", "class")):
        if view.get(member):
            return kernel.view(struct, view.get(member)).get("name")
    return kernel.symbol("dev_no_driver")


@export_data("const char dev_no_driver[]", 8)
def dev_no_driver(kernel: KernelCore, address: int) -> None:
    """The empty name of no driver."""
