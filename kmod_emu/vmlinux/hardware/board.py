"""Where models of devices are plugged in on a distribution's kernel: its own buses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.board import Board, Wires, Wiring
from kmod_emu.vmlinux.hardware.pci import PciBus

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel


class VmlinuxBoard(Board):
    """The places of a machine with a distribution's kernel."""

    _kernel: VmlinuxKernel

    def _pci(self, model: Any, wiring: Wiring, wires: Wires) -> None:
        self._kernel[PciBus].plug(model, wiring, wires)
