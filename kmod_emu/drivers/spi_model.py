"""SPI controllers whose devices are Python objects: what `@kernel.device(spi=0)` puts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.core import Devices

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

SELECTS = 8  # lines of a controller


class SpiModels:
    """The controllers by number, and who is selected by which line."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._models: dict[tuple[int, int], Any] = {}
        self.controllers: dict[int, int] = {}
        self._show()

    def _show(self) -> None:
        self._kernel[Devices].make_class(self._kernel.symbol("spi_master_class"))

    def attach(self, bus: int, select: int, model: Any) -> None:
        """Put a model on a bus; ValueError if the place is taken, or no line leads there."""
        if (bus, select) in self._models:
            raise ValueError(f"there is a device at chip select {select} of SPI bus {bus} already")
        if not 0 <= select < SELECTS:
            raise ValueError(f"an SPI bus has the chip selects 0 to {SELECTS - 1}")
        self.seat(bus, select, model)
        self.controller(bus)

    def seat(self, bus: int, select: int, model: Any) -> None:
        """Let a model answer on a bus that is there."""
        self._models[bus, select] = model

    def remove(self, bus: int, select: int) -> None:
        """Nobody is selected by that line any more."""
        del self._models[bus, select]

    def controller(self, number: int) -> StructView:
        """The controller of that number, which is made if there is none."""
        kernel = self._kernel
        if number not in self.controllers:
            size = kernel.profile.struct("spi_controller").size
            made = kernel.view("spi_controller", kernel.heap.kmalloc(size))
            made.bus_num, made.num_chipselect = number, SELECTS
            device = kernel.view("device", made.addressof("dev"))
            device.set("class", kernel.symbol("spi_master_class"))
            kernel[Devices].initialize(device.address)
            kernel.kobjects.set_name(device.address, b"spi%d" % number)
            kernel.run(kernel[Devices].add(device.address))
            self.controllers[number] = made.address
        return kernel.view("spi_controller", self.controllers[number])

    def exchange(self, bus: int, select: int, data: bytes) -> bytes:
        """A whole message, with the line low: as many bytes back; without a device all ones.

        Raises:
            OSError: The model's.
        """
        model = self._models.get((bus, select))
        answer = bytes(model.transfer(data)) if model is not None else b""
        return answer[: len(data)].ljust(len(data), b"\xff")

    def save(self) -> Any:
        """State for a snapshot or file."""
        return list(self.controllers.items())

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.controllers = dict(state)
