"""Where models of devices are plugged in on a distribution's kernel: its own buses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.board import Board, Plugged, Wires
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

    def _pull(self, plugged: Plugged) -> None:
        if plugged.wiring.pci is not None:
            self._pci_bus.unplug(plugged.place)
        if plugged.wiring.usb is not None:
            self._usb_bus.unplug(plugged.place)

    def _pci(self, plugged: Plugged, wires: Wires) -> None:
        plugged.place = self._pci_bus.plug(plugged.model, plugged.wiring, wires)

    def _usb(self, plugged: Plugged, wires: Wires) -> None:
        plugged.place = self._usb_bus.plug(plugged.model, plugged.wiring, wires)

    def _platform(self, name: str, resources: list[tuple[int, int, int]]) -> int:
        return make_platform_device(self._kernel, name, _ID_NONE, resources)

    def _spi(self, bus: int, select: int, name: str, irq: int) -> int:
        return self._spi_buses.announce(bus, select, name, irq)

    def _seat(self, plugged: Plugged, wires: Wires) -> None:
        if plugged.wiring.pci is not None:
            self._pci_bus.seat(plugged.place, plugged.model, plugged.wiring, wires)
        if plugged.wiring.usb is not None:
            self._usb_bus.seat(plugged.place, plugged.model, plugged.wiring, wires)

    def _device(self, key: int | str) -> Any:
        return getattr(self._kernel.pc, key, None) if isinstance(key, str) else super()._device(key)

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        there = {key for key, _ in state}
        for key in [key for key in self._plugged if key not in there]:
            self._disconnect(key)
        super().load(state)


def install_board(kernel: VmlinuxKernel) -> None:
    """Add the places for devices."""
    kernel.add(VmlinuxBoard(kernel), Board)
    kernel.add(VmlinuxI2c(kernel), I2cModels)
    kernel.add(VmlinuxGpios(kernel), Gpios)
