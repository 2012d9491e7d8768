"""SPI: a controller of the kernel's own for each bus, whose messages Python does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.spi import exchange_message
from kmod_emu.drivers.spi_model import SELECTS, SpiModels
from kmod_emu.vmlinux.hardware.ask import ask, borrowed, make
from kmod_emu.vmlinux.hardware.calls import method
from kmod_emu.vmlinux.hardware.platform import make_platform_device

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_SPEED_HZ = 1_000_000
_MODE_BITS = 3  # clock polarity and phase: to the models it is all one


class VmlinuxSpi(SpiModels):
    """The controllers by number, and who is selected by which line."""

    _kernel: VmlinuxKernel

    def _show(self) -> None:
        """The kernel has shown its class itself."""

    def controller(self, number: int) -> StructView:
        """The controller of that number, which is made if there is none.

        Raises:
            KernelError: It cannot be made.
        """
        kernel = self._kernel
        if number not in self.controllers:
            parent = make_platform_device(kernel, "kmod-emu-spi", number, [])
            dev = parent + kernel.profile.offset("platform_device", "dev")
            what = f"SPI bus {number}"
            address = make(kernel, "__spi_alloc_controller", dev, 0, 0, what=what)
            made = kernel.view("spi_controller", address)
            made.bus_num, made.num_chipselect, made.mode_bits = number, SELECTS, _MODE_BITS
            made.transfer_one_message = kernel.methods["model_spi_message"]
            ask(kernel, "spi_register_controller", address, what=what)
            self.controllers[number] = address
        return kernel.view("spi_controller", self.controllers[number])

    def announce(self, bus: int, select: int, name: str, irq: int) -> int:
        """Make a device of a model, as a board's description does: where it is.

        Raises:
            KernelError: It cannot be made.
        """
        kernel, controller = self._kernel, self.controller(bus).address
        with borrowed(kernel, "spi_board_info") as info:
            info.set_bytes("modalias", name.encode())
            info.chip_select, info.irq, info.max_speed_hz, info.bus_num = select, irq, _SPEED_HZ, bus
            what = f"device {name} at chip select {select} of SPI bus {bus}"
            return make(kernel, "spi_new_device", controller, info.address, what=what)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"controllers": super().save(), "models": [list(place) for place in self._models]}

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        super().load(state["controllers"])
        there = {tuple(place) for place in state["models"]}
        self._models = {place: model for place, model in self._models.items() if place in there}


@method("int model_spi_message(struct spi_controller *ctlr, struct spi_message *message)")
async def model_spi_message(kernel: VmlinuxKernel, ctlr: int, message: StructView) -> int:
    """A message of the kernel's queue."""
    message.actual_length = 0
    message.status = exchange_message(kernel, kernel.view("spi_device", message.spi), message)
    await kernel.call_guest(kernel.symbol("spi_finalize_current_message"), ctlr)
    return 0
