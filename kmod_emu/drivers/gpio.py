"""GPIO lines by number and by descriptor, on a bank that Python plays (drivers/gpio/gpiolib*.c).

There is no bank until somebody makes one (`Kernel.gpio`): requesting a line is deferred then, as on a PC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.core import Devices
from kmod_emu.drivers.dev_printk import EPROBE_DEFER
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

_ENOTSUPP = 524  # not an errno that programs see
_LAST = 1024  # numbers that can be valid
_RISING, _FALLING = 1, 2
ACTIVE_LOW = 1 << 6  # FLAGACTIVE_LOW in struct gpio_desc


class Pin:
    """One line: who requested it, its direction, its level, its interrupt line."""

    def __init__(self) -> None:
        self.label: str | None = None
        self.output, self.value = False, 0
        self.irq = 0


class Gpios:
    """The bank.

    Attributes:
        label: What boards' tables call it.
        tables: Which lines the names that drivers use mean: `struct gpiod_lookup_table`.
        changed: Called with number and level when a driver sets a line.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.base = self._table = 0
        self.label = "gpio"
        self.pins: list[Pin] = []
        self.tables: list[int] = []
        self.changed: Callable[[int, int], None] = lambda number, value: None
        self._show()

    def _show(self) -> None:
        self._kernel[Devices].make_class(self._kernel.symbol("gpio_class"))

    def make(self, base: int, count: int) -> None:
        """Make the bank; ValueError if there is one."""
        if self.pins:
            raise ValueError("the machine has its GPIO bank already")
        self.base, self.pins = base, [Pin() for _ in range(count)]
        self._table = self._kernel.heap.kmalloc(count * self._size)

    @property
    def _size(self) -> int:
        return self._kernel.profile.struct("gpio_desc").size

    def pin(self, number: int) -> Pin | None:
        """A line by its number."""
        index = number - self.base
        return self.pins[index] if 0 <= index < len(self.pins) else None

    def descriptor(self, number: int) -> int:
        """Address of a line's descriptor, 0 for none."""
        return self._table + (number - self.base) * self._size if self.pin(number) else 0

    def number(self, desc: int) -> int:
        """The number of a descriptor's line, -1 for none."""
        index = (desc - self._table) // self._size
        return self.base + index if desc and 0 <= index < len(self.pins) else -1

    def drive(self, number: int, value: int) -> None:
        """A driver sets a line."""
        pin = self.pin(number)
        if pin is not None:
            pin.value = int(bool(value))
            self.changed(number, pin.value)

    def press(self, number: int, value: int) -> None:
        """The world sets a line: its interrupt comes, if its driver waits for such an edge.

        Raises:
            LookupError: There is no such line.
        """
        pin = self.pin(number)
        if pin is None:
            raise LookupError(f"no GPIO line {number}")
        before, pin.value = pin.value, int(bool(value))
        if pin.value != before and pin.irq:
            trigger = self._kernel.irqs.line(pin.irq).trigger
            if not trigger or trigger & (_RISING if pin.value else _FALLING):
                self._kernel.irqs.raise_irq(pin.irq)

    def save(self) -> Any:
        """State for a snapshot or file; who listens is not part of it."""
        pins = [dict(vars(pin)) for pin in self.pins]
        return [self.base, self._table, pins, self.label, list(self.tables)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.base, self._table, pins, self.label, tables = state
        self.pins, self.tables = [], list(tables)
        for fields in pins:
            pin = Pin()
            vars(pin).update(fields)
            self.pins.append(pin)


@export("struct gpio_desc *gpio_to_desc(unsigned int gpio)")
def gpio_to_desc(kernel: KernelCore, gpio: int) -> int:
    """The descriptor of a number; gpio_set_value() and its kin are inlined (drivers/gpio/gpiolib.c)."""
    desc = kernel[Gpios].descriptor(gpio)
    if not desc and gpio >= _LAST:
        kernel.printk.emit(f"invalid GPIO {gpio - (1 << 32) if gpio >> 31 else gpio}\n", 4)
    return desc


@export("int desc_to_gpio(const struct gpio_desc *desc)")
def desc_to_gpio(kernel: KernelCore, desc: int) -> int:
    """The number of a descriptor (drivers/gpio/gpiolib.c)."""
    return kernel[Gpios].number(desc)


@export("int gpio_request(unsigned gpio, const char *label)")
def gpio_request(kernel: KernelCore, gpio: int, label: int) -> int:
    """Take a line (drivers/gpio/gpiolib-legacy.c)."""
    return request(kernel, gpio, kernel.memory.read_text(label) if label else "?")


def request(kernel: KernelCore, number: int, label: str) -> int:
    """gpiod_request(): 0 or a negative errno."""
    pin = kernel[Gpios].pin(number)
    if pin is None:
        return -EPROBE_DEFER if number < _LAST else -errno.EINVAL
    if pin.label is not None:
        return -errno.EBUSY
    pin.label = label
    return 0


@export("int gpio_request_one(unsigned gpio, unsigned long flags, const char *label)")
def gpio_request_one(kernel: KernelCore, gpio: int, flags: int, label: int) -> int:
    """Take a line and set its direction: bit 0 input, bit 1 the level (drivers/gpio/gpiolib-legacy.c)."""
    error = gpio_request(kernel, gpio, label)
    if not error:
        pin = kernel[Gpios].pin(gpio)
        assert pin is not None
        pin.output = not flags & 1
        if pin.output:
            kernel[Gpios].drive(gpio, flags >> 1 & 1)
    return error


@export("void gpio_free(unsigned gpio)")
def gpio_free(kernel: KernelCore, gpio: int) -> None:
    """Give it back (drivers/gpio/gpiolib-legacy.c)."""
    if pin := kernel[Gpios].pin(gpio):
        pin.label = None


@export("int gpiod_direction_input(struct gpio_desc *desc)")
def gpiod_direction_input(kernel: KernelCore, desc: int) -> int:
    """Make it an input (drivers/gpio/gpiolib.c)."""
    if pin := kernel[Gpios].pin(kernel[Gpios].number(desc)):
        pin.output = False
    return 0


@export("int gpiod_get_direction(struct gpio_desc *desc)")
def gpiod_get_direction(kernel: KernelCore, desc: int) -> int:
    """0 for an output, 1 for an input (drivers/gpio/gpiolib.c)."""
    pin = kernel[Gpios].pin(kernel[Gpios].number(desc))
    return int(not pin.output) if pin else -errno.EINVAL


def _level(kernel: KernelCore, desc: int, value: int, *, raw: bool) -> int:
    """As the line has it or as drivers mean it, either way: a line that is active low is turned round."""
    low = not raw and desc and kernel.view("gpio_desc", desc).flags & ACTIVE_LOW
    return int(bool(value) != bool(low))


def line_level(kernel: KernelCore, desc: int, *, raw: bool) -> int:
    """The level of a line; EIO if there is none."""
    pin = kernel[Gpios].pin(kernel[Gpios].number(desc))
    return _level(kernel, desc, pin.value, raw=raw) if pin else -errno.EIO


def drive_line(kernel: KernelCore, desc: int, value: int, *, raw: bool) -> None:
    """Set a line, if it is an output."""
    pin = kernel[Gpios].pin(kernel[Gpios].number(desc))
    if pin is not None and pin.output:
        kernel[Gpios].drive(kernel[Gpios].number(desc), _level(kernel, desc, value, raw=raw))


def direction_output(kernel: KernelCore, desc: int, value: int, *, raw: bool) -> int:
    """Make a line an output of that level."""
    if pin := kernel[Gpios].pin(kernel[Gpios].number(desc)):
        pin.output = True
        kernel[Gpios].drive(kernel[Gpios].number(desc), _level(kernel, desc, value, raw=raw))
    return 0


def _define_values(raw: str, sleep: str) -> None:
    @export(f"int gpiod_get_{raw}value{sleep}(const struct gpio_desc *desc)")
    def get(kernel: KernelCore, desc: int) -> int:
        """Its level (drivers/gpio/gpiolib.c)."""
        return max(line_level(kernel, desc, raw=bool(raw)), 0)

    @export(f"void gpiod_set_{raw}value{sleep}(struct gpio_desc *desc, int value)")
    def set_value(kernel: KernelCore, desc: int, value: int) -> None:
        """Set it (drivers/gpio/gpiolib.c)."""
        drive_line(kernel, desc, value, raw=bool(raw))


def _define_outputs(raw: str) -> None:
    @export(f"int gpiod_direction_output{raw}(struct gpio_desc *desc, int value)")
    def output(kernel: KernelCore, desc: int, value: int) -> int:
        """Make it an output of that level (drivers/gpio/gpiolib.c)."""
        return direction_output(kernel, desc, value, raw=bool(raw))


for _raw in ("", "raw_"):
    _define_values(_raw, "")
    _define_values(_raw, "_cansleep")
_define_outputs("")
_define_outputs("_raw")


@export("int gpiod_to_irq(const struct gpio_desc *desc)")
def gpiod_to_irq(kernel: KernelCore, desc: int) -> int:
    """The interrupt line that tells of its edges (drivers/gpio/gpiolib.c)."""
    pin = kernel[Gpios].pin(kernel[Gpios].number(desc))
    if pin is None:
        return -errno.EINVAL
    pin.irq = pin.irq or kernel.irqs.allocate("gpio")
    return pin.irq


@export("int gpiod_set_debounce(struct gpio_desc *desc, unsigned int debounce)", Fidelity.APPROXIMATE)
def gpiod_set_debounce(kernel: KernelCore, desc: int, debounce: int) -> int:
    """The bank does not filter (drivers/gpio/gpiolib.c)."""
    return -_ENOTSUPP
