"""Drivers and line disciplines of terminals (drivers/tty/): numbers and names; no terminal is opened."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.drivers.core import error_pointer
from kmod_emu.drivers.registration import Family, Registrations, declare
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_DRIVER = Family("driver of terminals", "")
_N_TTY, _LAST_LDISC = 0, 31  # of the numbers of line disciplines


def _discipline(kernel: KernelCore, address: int) -> int:
    """tty_register_ldisc(): a number that there is; one that is taken is taken over."""
    view = kernel.view("tty_ldisc_ops", address)
    if not view.has("num"):
        return 0
    return 0 if _N_TTY <= view.signed("num") < _LAST_LDISC else -errno.EINVAL


# Of a terminal that nobody has set: what comes, goes, the line and its 38,400 baud, editing, and the keys.
_TERMIOS = struct.pack(
    "<4IB19sII", 0x500, 0x5, 0x4BF, 0x8A3B, 0,
    bytes.fromhex("031c7f1504000100111300120f1716"), 38400, 38400,
)  # fmt: skip


@export_data("struct ktermios tty_std_termios", len(_TERMIOS))
def tty_std_termios(kernel: KernelCore, address: int) -> None:
    """How terminals begin."""
    kernel.memory.write(address, _TERMIOS)


declare(
    __name__,
    Family(
        "line discipline", "int tty_register_ldisc(struct tty_ldisc_ops *new_ldisc)",
        "void tty_unregister_ldisc(struct tty_ldisc_ops *ldisc)", taken=0, check=_discipline,
    ),
)  # fmt: skip


@export(
    "struct tty_driver *__tty_alloc_driver(unsigned int lines, struct module *owner, unsigned long flags)"
)
def __tty_alloc_driver(kernel: KernelCore, lines: int, owner: int, flags: int) -> int:
    """A driver that is not registered yet (drivers/tty/tty_io.c)."""
    if not lines:
        return error_pointer(-errno.EINVAL)
    driver = kernel.view("tty_driver", kernel.heap.kmalloc(kernel.profile.struct("tty_driver").size))
    driver.kref, driver.num, driver.owner, driver.flags = 1, lines, owner, flags
    return driver.address


@export("int tty_register_driver(struct tty_driver *driver)", Fidelity.REGISTRATION)
def tty_register_driver(kernel: KernelCore, driver: StructView) -> int:
    """Its device numbers are taken; devices in /sys and /dev are not made (drivers/tty/tty_io.c)."""
    name = kernel.memory.read_text(driver.get("name"))
    region = kernel[CharDevices].reserve(driver.major, driver.minor_start, driver.num, name)
    if not driver.major:
        driver.major, driver.minor_start = region.major, region.baseminor
    kernel[Registrations].put(_DRIVER.kind, driver.address, name, (), 0)
    return 0


@export("void tty_unregister_driver(struct tty_driver *driver)", Fidelity.REGISTRATION)
def tty_unregister_driver(kernel: KernelCore, driver: StructView) -> None:
    """They are free again (drivers/tty/tty_io.c)."""
    kernel[CharDevices].release(driver.major, driver.minor_start, driver.num)
    kernel[Registrations].remove(_DRIVER, driver.address)


@export("void tty_driver_kref_put(struct tty_driver *driver)")
def tty_driver_kref_put(kernel: KernelCore, driver: StructView) -> None:
    """The last reference frees it (drivers/tty/tty_io.c)."""
    driver.kref -= 1
    if not driver.kref:
        kernel.heap.kfree(driver.address)


@export("void n_tty_inherit_ops(struct tty_ldisc_ops *ops)", Fidelity.REGISTRATION)
def n_tty_inherit_ops(kernel: KernelCore, ops: StructView) -> None:
    """The functions of the usual line discipline: none is here (drivers/tty/n_tty.c)."""
    kernel.memory.clear(ops.address, ops.layout.size)


_DYNAMIC, _REAL_RAW, _SERIAL, _NORMAL = 1 << 3, 1 << 2, 3, 1  # TTY_DRIVER_*, SERIAL_TYPE_NORMAL


@export("int uart_register_driver(struct uart_driver *uart)", Fidelity.REGISTRATION)
def uart_register_driver(kernel: KernelCore, uart: StructView) -> int:
    """A driver of terminals for serial ports, of which none is there (drivers/tty/serial/serial_core.c)."""
    if not uart.nr:
        return -errno.EINVAL
    driver = kernel.view("tty_driver", __tty_alloc_driver(kernel, uart.nr, 0, _REAL_RAW | _DYNAMIC))
    driver.owner, driver.driver_name = uart.owner, uart.driver_name
    driver.set("name", uart.dev_name)
    driver.major, driver.minor_start = uart.major, uart.minor
    driver.set("type", _SERIAL)
    driver.subtype = _NORMAL
    try:
        tty_register_driver(kernel, driver)
    except KernelError:
        tty_driver_kref_put(kernel, driver)
        raise
    uart.tty_driver, uart.state = driver.address, kernel.heap.kmalloc(8 * uart.nr)
    return 0


@export("void uart_unregister_driver(struct uart_driver *uart)", Fidelity.REGISTRATION)
def uart_unregister_driver(kernel: KernelCore, uart: StructView) -> None:
    """It goes (drivers/tty/serial/serial_core.c)."""
    driver = kernel.view("tty_driver", uart.tty_driver)
    tty_unregister_driver(kernel, driver)
    tty_driver_kref_put(kernel, driver)
    kernel.heap.kfree(uart.state)
    uart.tty_driver = uart.state = 0
