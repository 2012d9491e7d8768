"""GPIO: a chip of the kernel's own, whose lines are Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.gpio import Gpios, Pin
from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.vmlinux.hardware.ask import ask, made
from kmod_emu.vmlinux.hardware.calls import method

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_LABEL = b"gpio\0"
_METHODS = ("get", "set", "get_direction", "direction_input", "direction_output", "to_irq")
_FIRST_IRQ = 64  # lines of the chip have interrupts from here on


class VmlinuxGpios(Gpios):
    """The bank."""

    _kernel: VmlinuxKernel

    def _show(self) -> None:
        """The kernel has shown its class itself."""

    def make(self, base: int, count: int) -> None:
        """Make the bank.

        Raises:
            ValueError: There is one.
            KernelError: The kernel has another at these numbers.
        """
        if self.pins:
            raise ValueError("the machine has its GPIO bank already")
        kernel = self._kernel
        chip = made(kernel, "gpio_chip", len(_LABEL))
        kernel.memory.write(chip.address + chip.layout.size, _LABEL)
        chip.label, chip.base, chip.ngpio = chip.address + chip.layout.size, base, count
        for name in _METHODS:
            chip.set(name, kernel.methods[f"model_gpio_{name}"])
        self.base, self.pins = base, [Pin() for _ in range(count)]  # the kernel looks at them at once
        what = f"{count} GPIO lines from {base}"
        try:
            ask(kernel, "gpiochip_add_data_with_key", chip.address, 0, 0, 0, what=what)
        except KernelError:
            self.pins = []
            raise

    async def interrupt(self, offset: int) -> int:
        """The interrupt of a line."""
        pin = self.pins[offset]
        if not pin.irq:
            await self._kernel.irqs.wire(_FIRST_IRQ + offset)
            pin.irq = _FIRST_IRQ + offset
        return pin.irq


def _pin(kernel: VmlinuxKernel, offset: int) -> Pin:
    return kernel[Gpios].pins[offset]  # the kernel asks for those that the chip has


@method("int model_gpio_get(struct gpio_chip *gc, unsigned int offset)")
def model_gpio_get(kernel: VmlinuxKernel, gc: int, offset: int) -> int:
    """The level of a line."""
    return _pin(kernel, offset).value


@method("void model_gpio_set(struct gpio_chip *gc, unsigned int offset, int value)")
def model_gpio_set(kernel: VmlinuxKernel, gc: int, offset: int, value: int) -> int:
    """A driver sets a line; later kernels want to know whether it could."""
    bank = kernel[Gpios]
    bank.drive(bank.base + offset, value)
    return 0


@method("int model_gpio_get_direction(struct gpio_chip *gc, unsigned int offset)")
def model_gpio_get_direction(kernel: VmlinuxKernel, gc: int, offset: int) -> int:
    """1 for an input."""
    return int(not _pin(kernel, offset).output)


@method("int model_gpio_direction_input(struct gpio_chip *gc, unsigned int offset)")
def model_gpio_direction_input(kernel: VmlinuxKernel, gc: int, offset: int) -> int:
    """The world sets the line."""
    _pin(kernel, offset).output = False
    return 0


@method("int model_gpio_direction_output(struct gpio_chip *gc, unsigned int offset, int value)")
def model_gpio_direction_output(kernel: VmlinuxKernel, gc: int, offset: int, value: int) -> int:
    """The driver sets the line."""
    _pin(kernel, offset).output = True
    return model_gpio_set(kernel, gc, offset, value)


@method("int model_gpio_to_irq(struct gpio_chip *gc, unsigned int offset)")
async def model_gpio_to_irq(kernel: VmlinuxKernel, gc: int, offset: int) -> int:
    """The interrupt of a line."""
    bank = kernel[Gpios]
    return await bank.interrupt(offset) if isinstance(bank, VmlinuxGpios) else -errno.ENXIO
