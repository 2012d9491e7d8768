"""What a PC has built in: a serial port, keyboard and mouse, a clock, a floppy disk controller.

The kernel's own drivers find them while it boots, as they found those of the machine of the recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.devices.acpi import PowerManagement, tables
from kmod_emu.devices.cmos import Cmos
from kmod_emu.devices.floppy import FloppyController
from kmod_emu.devices.i8042 import I8042, KEYBOARD_IRQ, MOUSE_IRQ
from kmod_emu.devices.pic import Triggers
from kmod_emu.devices.serial import Uart
from kmod_emu.drivers.board import Wires
from kmod_emu.machine.memory import READ, WRITE, page_align

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import Subsystem
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_LINES = range(16)  # of a PC
_TABLES = 0xF_0000


class Pc:
    """The devices.

    Attributes:
        serial: ttyS0, the console.
        keyboard: The controller of keyboard and mouse.
        clock: The real time clock, and what firmware has left beside it.
        floppy: The controller; no drives are there.
        power: The power button.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self.serial, self.clock, self.floppy = Uart(), Cmos(), FloppyController()
        self.power, self.keyboard = PowerManagement(), I8042()
        for name in ("serial", "clock", "floppy", "power"):
            model = getattr(self, name)
            model.connect(Wires(kernel, model.wiring["irq"], model, name))
            kernel.cpu.ports.attach(model.wiring["ports"], model.wiring["size"], model)
        self._triggers = Triggers()
        kernel.cpu.ports.attach(self._triggers.first, self._triggers.size, self._triggers)
        lines = (KEYBOARD_IRQ, MOUSE_IRQ)
        self.keyboard.connect(*(Wires(kernel, line, self.keyboard, "keyboard") for line in lines))
        for port, window in self.keyboard.ports.items():
            kernel.cpu.ports.attach(port, 1, window)

    async def wire(self) -> None:
        """Make the interrupt lines."""
        for number in _LINES:
            await self._kernel.irqs.wire(number)

    def leave_tables(self) -> int:
        """What firmware leaves in the first megabyte: the physical address of ACPI's tables."""
        memory, place = self._kernel.memory, self._kernel.direct_address(_TABLES)
        contents = tables(_TABLES)
        memory.protect(place, page_align(len(contents)), READ | WRITE)
        memory.write(place, contents)
        return _TABLES

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [model.save() for model in self._models()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        for model, saved in zip(self._models(), state, strict=True):
            model.load(saved)

    def _models(self) -> tuple[Subsystem, ...]:
        return self.serial, self.clock, self.floppy, self.power, self.keyboard, self._triggers
