"""Where models of devices are plugged in: what `@kernel.device(...)` and `--device` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.drivers.i2c_model import I2cModels
from kmod_emu.drivers.platform_device import IO, IRQ, MEM, create_device
from kmod_emu.drivers.spi import announce
from kmod_emu.drivers.spi_model import SpiModels
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.kernel.kernel import KernelCore

_LAST_LINE = 255
_MEMORY_END, _PORTS_END = 1 << 40, 1 << 16


class Wiring(NamedTuple):
    """Where a device is plugged in; `Kernel.device` says what each means."""

    ports: int | None = None
    mmio: int | None = None
    size: int = 1
    irq: int | None = None
    platform: str | None = None
    i2c: int | None = None
    spi: int | None = None
    bus: int = 0
    name: str | None = None
    pci: str | None = None
    class_code: int = 0xFF0000
    subsystem: str = "0000:0000"
    bars: Sequence[int | tuple[str, int]] = ()
    usb: str | None = None


class Wires:
    """What leads from a model to this machine (devices/wires.py).

    Attributes:
        masters: Whether the device may reach RAM by itself.
        signal: What raising the device's line is, where it has none.
    """

    def __init__(self, kernel: KernelCore, irq: int | None) -> None:
        self._kernel, self._irq = kernel, irq
        self.masters: Callable[[], bool] = lambda: True
        self.signal: Callable[[], None] | None = None

    def raise_irq(self) -> None:
        """Raise the device's interrupt line; on USB, have the host ask its endpoints again."""
        if self.signal is not None:
            self.signal()
            return
        if self._irq is None:
            raise ValueError("the device has no interrupt line: it was plugged in without irq=")
        self._kernel.irqs.raise_irq(self._irq)

    def read_memory(self, paddr: int, size: int) -> bytes:
        """DMA: read the machine's RAM; ones where the device may not or where there is none."""
        if not self._reaches(paddr, size):
            return b"\xff" * size
        return bytes(self._kernel.memory.read(self._kernel.direct_address(paddr), size))

    def write_memory(self, paddr: int, data: bytes) -> None:
        """DMA: write the machine's RAM; lost where the device may not or where there is none."""
        if self._reaches(paddr, len(data)):
            self._kernel.memory.write(self._kernel.direct_address(paddr), data)

    def _reaches(self, paddr: int, size: int) -> bool:
        return self.masters() and paddr >= 0 and paddr + size <= self._kernel.memory.ram_end

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have `action` called when so much virtual time has passed."""
        kernel = self._kernel
        due = kernel.clock.now_ns + round(seconds * NSEC_PER_SEC)
        kernel.sched.at(due, action)

    def now(self) -> float:
        """What the machine's clock on the wall says: seconds since 1970. Looking takes time."""
        return (EPOCH_AT_BOOT_NS + self._kernel.clock.look()) / NSEC_PER_SEC


class Board:
    """The places of a machine with the stub base kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._models: list[Any] = []  # in the order in which they came

    def plug(self, model: Any, wiring: Wiring) -> None:
        """Put a model in its place; drivers that are there are probed.

        Raises:
            ValueError: Another device is there, RAM, or the machine has no such place.
            KernelError: The kernel does not take it.
        """
        kernel, irq = self._kernel, wiring.irq
        if wiring.mmio is not None and wiring.mmio < kernel.memory.ram_end:
            raise ValueError(f"{wiring.mmio:#x} is RAM: devices begin at {kernel.memory.ram_end:#x}")
        for base, end in ((wiring.mmio, _MEMORY_END), (wiring.ports, _PORTS_END)):
            if base is not None and base + wiring.size > end:
                raise ValueError(f"addresses end at {end:#x}")
        if irq is not None:
            if not 0 < irq <= _LAST_LINE:
                raise ValueError(f"interrupt lines have the numbers 1 to {_LAST_LINE}")
            kernel.irqs.ensure(irq)
        self._models.append(model)
        wires = Wires(kernel, irq)
        if hasattr(model, "connect"):
            model.connect(wires)
        for space, base in ((kernel.cpu.ports, wiring.ports), (kernel.cpu.mmio, wiring.mmio)):
            if base is not None:
                space.attach(base, wiring.size, model)
        if wiring.platform is not None:
            self._platform(wiring.platform, _resources(wiring))
        if wiring.pci is not None:
            self._pci(model, wiring, wires)
        if wiring.usb is not None:
            self._usb(model, wiring, wires)
        self._plug_serial(model, wiring, irq or 0)

    def unplug(self, model: Any) -> None:
        """Take a device out while the machine runs; its driver is told.

        Raises:
            ValueError: It is not there, or nothing can be taken out there.
        """
        raise ValueError("the stub kernel has nothing that can be taken out")

    def _plug_serial(self, model: Any, wiring: Wiring, irq: int) -> None:
        """What is on an I2C or SPI bus."""
        kernel = self._kernel
        if wiring.i2c is not None:
            kernel[I2cModels].attach(wiring.bus, wiring.i2c, model)
            if wiring.name is not None:
                kernel[I2cModels].announce(wiring.bus, wiring.i2c, wiring.name, irq)
        if wiring.spi is not None:
            kernel[SpiModels].attach(wiring.bus, wiring.spi, model)
            if wiring.name is not None:
                self._spi(wiring.bus, wiring.spi, wiring.name, irq)

    def _platform(self, name: str, resources: list[tuple[int, int, int]]) -> None:
        self._kernel.run(create_device(self._kernel, name, resources))

    def _spi(self, bus: int, select: int, name: str, irq: int) -> None:
        self._kernel.run(announce(self._kernel, bus, select, name, irq))

    def _pci(self, model: Any, wiring: Wiring, wires: Wires) -> None:
        raise ValueError("the stub kernel has no PCI bus: a distribution's has (--kernel VMLINUZ)")

    def _usb(self, model: Any, wiring: Wiring, wires: Wires) -> None:
        raise ValueError("the stub kernel has no USB: a distribution's has (--kernel VMLINUZ)")

    def save(self) -> Any:
        """State for a snapshot or file: what models say of themselves, if they do."""
        return [model.save() if hasattr(model, "save") else None for model in self._models]

    def load(self, state: Any) -> None:
        """Put saved state back, to the models that are there."""
        for model, saved in zip(self._models, state, strict=False):
            if saved is not None and hasattr(model, "load"):
                model.load(saved)


def _resources(wiring: Wiring) -> list[tuple[int, int, int]]:
    """As (first, last, type)."""
    return [
        (base, base + (1 if kind == IRQ else wiring.size) - 1, kind)
        for base, kind in ((wiring.ports, IO), (wiring.mmio, MEM), (wiring.irq, IRQ))
        if base is not None
    ]
