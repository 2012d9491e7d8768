"""Where models of devices are plugged in on a distribution's kernel: its own buses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.board import Board, Wires, Wiring
from kmod_emu.drivers.gpio import Gpios
from kmod_emu.drivers.i2c_model import I2cModels
from kmod_emu.drivers.spi_model import SpiModels
from kmod_emu.vmlinux.hardware.gpio import VmlinuxGpios
from kmod_emu.vmlinux.hardware.i2c import VmlinuxI2c
from kmod_emu.vmlinux.hardware.pci import PciBus
from kmod_emu.vmlinux.hardware.platform import make_platform_device
from kmod_emu.vmlinux.hardware.spi import VmlinuxSpi
from kmod_emu.vmlinux.hardware.usb import UsbBus

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_ID_NONE = -1


class VmlinuxBoard(Board):
    """The places of a machine with a distribution's kernel."""

    _kernel: VmlinuxKernel

    def __init__(self, kernel: VmlinuxKernel) -> None:
        super().__init__(kernel)
        self._pci_bus, self._usb_bus, self._spi_buses = PciBus(kernel), UsbBus(kernel), VmlinuxSpi(kernel)
        kernel.add(self._pci_bus)
        kernel.add(self._usb_bus)
        kernel.add(self._spi_buses, SpiModels)

    def unplug(self, model: Any) -> None:
        """Take a PCI or USB device out while the machine runs; its driver is told.

        Raises:
            ValueError: It is in none of their places.
        """
        for bus in (self._pci_bus, self._usb_bus):
            if bus.unplug(model):
                return
        raise ValueError("no such device is in a PCI slot or USB port")

    def _pci(self, model: Any, wiring: Wiring, wires: Wires) -> None:
        self._pci_bus.plug(model, wiring, wires)

    def _usb(self, model: Any, wiring: Wiring, wires: Wires) -> None:
        self._usb_bus.plug(model, wiring, wires)

    def _platform(self, name: str, resources: list[tuple[int, int, int]]) -> None:
        make_platform_device(self._kernel, name, _ID_NONE, resources)

    def _spi(self, bus: int, select: int, name: str, irq: int) -> None:
        self._spi_buses.announce(bus, select, name, irq)

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        super().load(state)
        for model in self._models[len(state) :]:
            for space in (self._kernel.cpu.ports, self._kernel.cpu.mmio):
                space.detach(model)
        del self._models[len(state) :]


def install_board(kernel: VmlinuxKernel) -> None:
    """Add the places for devices."""
    kernel.add(VmlinuxBoard(kernel), Board)
    kernel.add(VmlinuxI2c(kernel), I2cModels)
    kernel.add(VmlinuxGpios(kernel), Gpios)
