"""GPIO lines several at a time, and by what a board's tables call them (drivers/gpio/gpiolib*.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers import devres
from kmod_emu.drivers.core import error_pointer
from kmod_emu.drivers.dev_printk import EPROBE_DEFER
from kmod_emu.drivers.gpio import (
    ACTIVE_LOW,
    Gpios,
    direction_output,
    drive_line,
    gpio_free,
    gpio_request_one,
    gpiod_direction_input,
    line_level,
    request,
)
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_DIR_SET, _DIR_OUT, _DIR_VALUE = 1, 2, 4  # enum gpiod_flags
_LOOKUP_SIZE = 40  # struct gpiod_lookup: key, chip_hwnum, con_id, idx, flags


# --- arrays of numbers ----------------------------------------------------------------------------------


def _array(kernel: KernelCore, array: int, num: int) -> list[StructView]:
    return [kernel.view("gpio", address) for address in kernel.array("gpio", array, num)]


@export("int gpio_request_array(const struct gpio *array, size_t num)")
def gpio_request_array(kernel: KernelCore, array: int, num: int) -> int:
    """Take several lines, all or none (drivers/gpio/gpiolib-legacy.c)."""
    taken: list[int] = []
    for line in _array(kernel, array, num):
        error = gpio_request_one(kernel, line.gpio, line.flags, line.label)
        if error:
            for number in reversed(taken):
                gpio_free(kernel, number)
            return error
        taken.append(line.gpio)
    return 0


@export("void gpio_free_array(const struct gpio *array, size_t num)")
def gpio_free_array(kernel: KernelCore, array: int, num: int) -> None:
    """Give them back (drivers/gpio/gpiolib-legacy.c)."""
    for line in reversed(_array(kernel, array, num)):
        gpio_free(kernel, line.gpio)


# --- arrays of descriptors ------------------------------------------------------------------------------


def _define_arrays(raw: str, sleep: str) -> None:
    arguments = (
        "unsigned int array_size, struct gpio_desc **desc_array, struct gpio_array *array_info,"
        " unsigned long *value_bitmap"
    )

    @export(f"int gpiod_get_{raw}array_value{sleep}({arguments})")
    def get(kernel: KernelCore, array_size: int, desc_array: int, array_info: int, value_bitmap: int) -> int:
        """Their levels, a bit each."""
        memory = kernel.memory
        for index in range(array_size):
            level = line_level(kernel, memory.read_u64(desc_array + 8 * index), raw=bool(raw))
            if level < 0:
                return level
            place, bit = value_bitmap + index // 8, 1 << index % 8
            old = memory.read_u8(place)
            memory.write_u8(place, old | bit if level else old & ~bit)
        return 0

    @export(f"int gpiod_set_{raw}array_value{sleep}({arguments})")
    def set_value(
        kernel: KernelCore, array_size: int, desc_array: int, array_info: int, value_bitmap: int
    ) -> int:
        """Set them, a bit each."""
        memory = kernel.memory
        for index in range(array_size):
            value = memory.read_u8(value_bitmap + index // 8) >> index % 8 & 1
            drive_line(kernel, memory.read_u64(desc_array + 8 * index), value, raw=bool(raw))
        return 0


for _raw in ("", "raw_"):
    for _sleep in ("", "_cansleep"):
        _define_arrays(_raw, _sleep)


# --- by name --------------------------------------------------------------------------------------------


@export("void gpiod_add_lookup_table(struct gpiod_lookup_table *table)")
def gpiod_add_lookup_table(kernel: KernelCore, table: int) -> None:
    """Say which lines a device's names mean (drivers/gpio/gpiolib.c)."""
    kernel[Gpios].tables.append(table)


@export("void gpiod_remove_lookup_table(struct gpiod_lookup_table *table)")
def gpiod_remove_lookup_table(kernel: KernelCore, table: int) -> None:
    """Forget it (drivers/gpio/gpiolib.c)."""
    if table in kernel[Gpios].tables:
        kernel[Gpios].tables.remove(table)


def _text(kernel: KernelCore, address: int) -> str | None:
    return kernel.memory.read_text(address) if address else None


def _find(kernel: KernelCore, dev: int, con_id: str | None, idx: int) -> tuple[int, int]:
    """gpiod_find(): a descriptor, or a negative errno; and the flags of its entry."""
    gpios, memory = kernel[Gpios], kernel.memory
    name = kernel.kobjects.name(dev) if dev else None
    for table in gpios.tables:
        view = kernel.view("gpiod_lookup_table", table)
        if _text(kernel, view.dev_id) != name:
            continue
        entry = view.addressof("table")
        while key := memory.read_u64(entry):
            wanted, flags = _text(kernel, memory.read_u64(entry + 16)), memory.read_u64(entry + 32)
            if memory.read_u32(entry + 24) == idx and (wanted is None or wanted == con_id):
                if memory.read_text(key) != gpios.label:
                    return -EPROBE_DEFER, 0
                number = gpios.base + memory.read_u16(entry + 8)
                return gpios.descriptor(number) or -errno.EINVAL, flags
            entry += _LOOKUP_SIZE
    return -errno.ENOENT, 0


def _get(kernel: KernelCore, dev: int, con_id: int, idx: int, flags: int) -> int:
    """gpiod_get_index(): a descriptor, or a negative errno."""
    desc, entry_flags = _find(kernel, dev, _text(kernel, con_id), idx)
    if desc < 0:
        return desc
    number = kernel[Gpios].number(desc)
    label = _text(kernel, con_id) or (kernel.kobjects.name(dev) if dev else "?")
    if error := request(kernel, number, label):
        return error
    view = kernel.view("gpio_desc", desc)
    view.flags = view.flags | ACTIVE_LOW if entry_flags & 1 else view.flags & ~ACTIVE_LOW
    if flags & _DIR_SET and flags & _DIR_OUT:
        direction_output(kernel, desc, int(bool(flags & _DIR_VALUE)), raw=False)
    elif flags & _DIR_SET:
        gpiod_direction_input(kernel, desc)
    return desc


def _define_gets(index: str, optional: str) -> None:
    arguments = "struct device *dev, const char *con_id"
    arguments += ", unsigned int idx, enum gpiod_flags flags" if index else ", enum gpiod_flags flags"

    def find(kernel: KernelCore, dev: int, con_id: int, *rest: int) -> int:
        idx, flags = rest if index else (0, *rest)
        desc = _get(kernel, dev, con_id, idx, flags)
        return 0 if optional and desc == -errno.ENOENT else desc

    @export(f"struct gpio_desc *gpiod_get{index}{optional}({arguments})")
    def get(kernel: KernelCore, dev: int, con_id: int, *rest: int) -> int:
        """A line by its name; an error pointer, or NULL if it is optional and there is none."""
        desc = find(kernel, dev, con_id, *rest)
        return error_pointer(desc) if desc < 0 else desc

    @export(f"struct gpio_desc *devm_gpiod_get{index}{optional}({arguments})")
    def devm_get(kernel: KernelCore, dev: int, con_id: int, *rest: int) -> int:
        """Likewise, until the driver's end."""
        desc = find(kernel, dev, con_id, *rest)
        if desc > 0:
            res = devres.devres_alloc_node(kernel, kernel.symbol("devm_gpiod_release"), 8, 0, 0)
            kernel.memory.write_u64(res, desc)
            devres.devres_add(kernel, dev, res)
        return error_pointer(desc) if desc < 0 else desc


for _index in ("", "_index"):
    for _optional in ("", "_optional"):
        _define_gets(_index, _optional)


@export("void devm_gpiod_release(struct device *dev, void *res)")
def devm_gpiod_release(kernel: KernelCore, dev: int, res: int) -> None:
    """Give a line back."""
    gpiod_put(kernel, kernel.memory.read_u64(res))


@export("void gpiod_put(struct gpio_desc *desc)")
def gpiod_put(kernel: KernelCore, desc: int) -> None:
    """Give a line back (drivers/gpio/gpiolib.c)."""
    if desc:
        gpio_free(kernel, kernel[Gpios].number(desc))


@export(
    "int devm_gpio_request_one(struct device *dev, unsigned gpio, unsigned long flags, const char *label)"
)
def devm_gpio_request_one(kernel: KernelCore, dev: int, gpio: int, flags: int, label: int) -> int:
    """A line by number until the driver's end (drivers/gpio/gpiolib-devres.c)."""
    error = gpio_request_one(kernel, gpio, flags, label)
    if not error:
        res = devres.devres_alloc_node(kernel, kernel.symbol("devm_gpiod_release"), 8, 0, 0)
        kernel.memory.write_u64(res, kernel[Gpios].descriptor(gpio))
        devres.devres_add(kernel, dev, res)
    return error
