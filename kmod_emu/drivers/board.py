"""Where models of devices are plugged in: what `@kernel.device(...)` and `--device` do."""

from __future__ import annotations

import json
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.drivers.guarded import Guarded
from kmod_emu.drivers.i2c_model import I2cModels
from kmod_emu.drivers.models import kind_of, make
from kmod_emu.drivers.platform_device import IO, IRQ, MEM, create_device
from kmod_emu.drivers.spi import announce
from kmod_emu.drivers.spi_model import SpiModels
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.kernel.kernel import KernelCore

DEVICE = "device"  # the kind of events of models: [which model, method, arguments]
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
    vectors: int = 0


class Wires:
    """What leads from a model to this machine (devices/wires.py).

    Args:
        kernel: The machine.
        irq: The device's interrupt line.
        model: The device.
        key: By what the machine knows it; see `DEVICE`.

    Attributes:
        masters: Whether the device may reach RAM by itself.
        signal: What raising the device's line is, where it has none.
        message: Sends an interrupt message instead, if the driver has chosen them.
    """

    def __init__(self, kernel: KernelCore, irq: int | None, model: Any, key: int | str) -> None:
        self._kernel, self._irq, self._model, self._key = kernel, irq, model, key
        self.masters: Callable[[], bool] = lambda: True
        self.signal: Callable[[], None] | None = None
        self.message: Callable[[int], bool] = lambda vector: False

    def raise_irq(self, vector: int = 0) -> None:
        """Raise the device's interrupt line, or send a message; on USB, have the host ask its endpoints."""
        if self.signal is not None:
            self.signal()
            return
        if self.message(vector):
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
        """Have `action` called when so much virtual time has passed.

        A method of the model, or partial() of one with numbers, texts and bytes, is part of snapshots and
        saved machines.
        """
        kernel = self._kernel
        due = kernel.clock.now_ns + round(seconds * NSEC_PER_SEC)
        function, arguments = (action.func, action.args) if isinstance(action, partial) else (action, ())
        if getattr(function, "__self__", None) is self._model:
            written = [{"hex": each.hex()} if isinstance(each, bytes) else each for each in arguments]
            kernel.sched.agenda.post(due, DEVICE, [self._key, function.__name__, written])
        else:
            kernel.sched.at(due, action)

    def now(self) -> float:
        """What the machine's clock on the wall says: seconds since 1970. Looking takes time."""
        return (EPOCH_AT_BOOT_NS + self._kernel.clock.look()) / NSEC_PER_SEC


class Plugged:
    """A device that is in its place, or was when the machine was saved.

    Attributes:
        model: It; None where nobody has plugged it in again.
        wiring: Where it is.
        state: What the model last said of itself.
        place: The slot or port that its bus has given it.
        known: What the kernel has made of it: the function that unregisters it, its address.
    """

    def __init__(self, model: Any, wiring: Wiring) -> None:
        self.model, self.wiring = model, wiring
        self.state: Any = None
        self.place = 0
        self.known: list[list[Any]] = []

    @property
    def bare(self) -> Any:
        """The model itself, where it is guarded."""
        return self.model.model if isinstance(self.model, Guarded) else self.model

    def save(self) -> Any:
        """As plain data."""
        if self.model is not None:
            self.state = self.model.save() if hasattr(self.model, "save") else None
        wiring = {
            name: value
            for name, value in self.wiring._asdict().items()
            if value != Wiring._field_defaults[name]
        }
        return {
            "model": kind_of(self.bare),
            "wiring": wiring,
            "state": self.state,
            "place": self.place,
            "known": self.known,
        }

    def load(self, state: Any) -> None:
        """The model is what it was."""
        self.state = state
        if state is not None and hasattr(self.model, "load"):
            self.model.load(state)


class Board:
    """The places of a machine with the stub base kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._plugged: dict[int, Plugged] = {}  # in the order in which they came
        self._known: dict[int, Any] = {}  # models that have been there, for going back to where they were
        self._next = 0
        kernel.sched.on(DEVICE, self._happen)

    def plug(self, model: Any, wiring: Wiring) -> None:
        """Put a model in its place; drivers that are there are probed.

        On a machine that was saved with a device just there, which is not a shipped one, it is that device.

        Raises:
            ValueError: Another device is there, RAM, or the machine has no such place.
            KernelError: The kernel does not take it.
        """
        for key, there in self._plugged.items():
            if there.model is None and _same(there.wiring, wiring):
                self._return(key, there, model)
                return
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
        key, self._next = self._next, self._next + 1
        plugged = self._plugged[key] = Plugged(model, wiring)
        self._known[key] = model
        try:
            wires = self._connect(key, plugged)
            if wiring.platform is not None:
                made = self._platform(wiring.platform, _resources(wiring))
                plugged.known.append(["platform_device_unregister", made])
            if wiring.pci is not None:
                self._pci(plugged, wires)
            if wiring.usb is not None:
                self._usb(plugged, wires)
            self._plug_serial(plugged, irq or 0)
        except BaseException:
            self._disconnect(key)
            raise

    def unplug(self, model: Any) -> None:
        """Take a device out while the machine runs; its driver is told.

        Raises:
            ValueError: It is not there.
        """
        kernel = self._kernel
        found = [key for key, it in self._plugged.items() if it.model is model or it.bare is model]
        if model is None or not found:
            raise ValueError("no such device is plugged in")
        plugged = self._plugged[found[0]]
        wiring = plugged.wiring
        for function, address in reversed(plugged.known):
            kernel.call(kernel.lookup_name(function), address)
        self._pull(plugged)
        if wiring.i2c is not None:
            kernel[I2cModels].remove(wiring.bus, wiring.i2c)
        if wiring.spi is not None:
            kernel[SpiModels].remove(wiring.bus, wiring.spi)
        self._disconnect(found[0])

    def _connect(self, key: int, plugged: Plugged) -> Wires:
        """Lead a model's wires, and ports and addresses to it."""
        kernel, model, wiring = self._kernel, plugged.model, plugged.wiring
        wires = Wires(kernel, wiring.irq, plugged.bare, key)
        if hasattr(model, "connect"):
            model.connect(wires)
        for space, base in ((kernel.cpu.ports, wiring.ports), (kernel.cpu.mmio, wiring.mmio)):
            if base is not None:
                space.attach(base, wiring.size, model)
        return wires

    def _disconnect(self, key: int) -> None:
        """Nothing leads to a model any more."""
        model = self._plugged.pop(key).model
        for space in (self._kernel.cpu.ports, self._kernel.cpu.mmio):
            space.detach(model)

    def _return(self, key: int, plugged: Plugged, model: Any) -> None:
        """A device is there again that the kernel knows."""
        plugged.model = self._known[key] = model
        wires, wiring = self._connect(key, plugged), plugged.wiring
        self._seat(plugged, wires)
        if wiring.i2c is not None:
            self._kernel[I2cModels].seat(wiring.bus, wiring.i2c, model)
        if wiring.spi is not None:
            self._kernel[SpiModels].seat(wiring.bus, wiring.spi, model)
        plugged.load(plugged.state)

    def _plug_serial(self, plugged: Plugged, irq: int) -> None:
        """What is on an I2C or SPI bus."""
        kernel, model, wiring = self._kernel, plugged.model, plugged.wiring
        if wiring.i2c is not None:
            kernel[I2cModels].attach(wiring.bus, wiring.i2c, model)
            if wiring.name is not None:
                client = kernel[I2cModels].announce(wiring.bus, wiring.i2c, wiring.name, irq)
                plugged.known.append(["i2c_unregister_device", client])
        if wiring.spi is not None:
            kernel[SpiModels].attach(wiring.bus, wiring.spi, model)
            if wiring.name is not None:
                device = self._spi(wiring.bus, wiring.spi, wiring.name, irq)
                plugged.known.append(["spi_unregister_device", device])

    # --- what differs from one base kernel to the other -----------------------------------------------

    def _platform(self, name: str, resources: list[tuple[int, int, int]]) -> int:
        return int(self._kernel.run(create_device(self._kernel, name, resources)))

    def _spi(self, bus: int, select: int, name: str, irq: int) -> int:
        return int(self._kernel.run(announce(self._kernel, bus, select, name, irq)))

    def _pci(self, plugged: Plugged, wires: Wires) -> None:
        raise ValueError("the stub kernel has no PCI bus: a distribution's has (--kernel VMLINUZ)")

    def _usb(self, plugged: Plugged, wires: Wires) -> None:
        raise ValueError("the stub kernel has no USB: a distribution's has (--kernel VMLINUZ)")

    def _pull(self, plugged: Plugged) -> None:
        """Take a model out of its slot or port."""

    def _seat(self, plugged: Plugged, wires: Wires) -> None:
        """Put a model into the slot or port in which the kernel knows it."""

    # --- events ---------------------------------------------------------------------------------------

    def _device(self, key: int | str) -> Any:
        """A model by what it is known by; None if it is not there."""
        return self._plugged[key].model if isinstance(key, int) and key in self._plugged else None

    async def _happen(self, payload: list[Any]) -> None:
        """What a model has asked for by `Wires.after`."""
        key, method, arguments = payload
        model = self._device(key)
        bare = model.model if isinstance(model, Guarded) else model
        if isinstance(getattr(type(bare), method, None), FunctionType):
            values = (bytes.fromhex(each["hex"]) if isinstance(each, dict) else each for each in arguments)
            getattr(model, method)(*values)

    # --- state ----------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file: what models say of themselves, if they do."""
        return [[key, plugged.save()] for key, plugged in self._plugged.items()]

    def load(self, state: Any) -> None:
        """Put saved state back, to the models that are there; shipped ones are made anew."""
        for key, saved in state:
            plugged = self._plugged.get(key)
            if plugged is not None:
                plugged.load(saved["state"])
                continue
            plugged = self._plugged[key] = Plugged(None, Wiring(**saved["wiring"]))
            plugged.state, plugged.place, plugged.known = saved["state"], saved["place"], saved["known"]
            model = self._known.get(key) or make(saved["model"])
            if model is not None:
                self._return(key, plugged, model)
        self._next = max([self._next, *(key + 1 for key, _ in state)])


def _same(one: Wiring, other: Wiring) -> bool:
    """Whether they say the same; a list from a file is as good as a tuple."""
    return json.dumps(one) == json.dumps(other)


def _resources(wiring: Wiring) -> list[tuple[int, int, int]]:
    """As (first, last, type)."""
    return [
        (base, base + (1 if kind == IRQ else wiring.size) - 1, kind)
        for base, kind in ((wiring.ports, IO), (wiring.mmio, MEM), (wiring.irq, IRQ))
        if base is not None
    ]
