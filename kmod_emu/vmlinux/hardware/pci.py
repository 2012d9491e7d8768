"""PCI: the kernel's own bus code, over configuration space that Python plays (devices/pci.py).

A device that is plugged in has its addresses from us, as firmware gives them; the kernel finds it as it finds
one that comes while it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.devices import chipset
from kmod_emu.devices.pci import CONFIG_PORTS, CONFIG_SIZE, SLOTS, Function, HostBridge, Identity
from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.drivers.board import Wires, Wiring
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_FIRST_SLOT = 3  # what PCs have built in comes before
_FIRST_MEMORY, _FIRST_PORT = 0xC000_0000, 0xC040
_LAST_PORT = 0xFFFF
# What the kernel chooses when it finds such a bus at boot: the ports, and that firmware has set the lines.
_CHOICES = {
    "raw_pci_ops": "pci_direct_conf1",
    "pcibios_enable_irq": "pirq_enable_irq",
    "pcibios_disable_irq": "pirq_disable_irq",
}


class PciBus:
    """Bus 0 and what is in its slots."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self._bridge = HostBridge()
        self._bridge.functions.update(chipset.functions(kernel.cpu.mmio, kernel.cpu.ports))
        kernel.cpu.ports.attach(CONFIG_PORTS, CONFIG_SIZE, self._bridge)
        self._root = 0  # struct pci_bus
        self._free = {False: _FIRST_MEMORY, True: _FIRST_PORT}  # the next addresses; whether of ports
        self._empty: dict[int, str] = {}  # places whose cards nobody plays: what their configuration was

    def plug(self, model: Any, wiring: Wiring, wires: Wires) -> int:
        """Put a model in the next free slot, and say which that is.

        Raises:
            ValueError: It does not say what it is, or there is no slot, or no port, left.
            KernelError: The kernel does not find it.
        """
        kernel = self._kernel
        identity = _identity(wiring)
        taken = {place >> 3 for place in (*self._bridge.functions, *self._empty)}
        slot = next((slot for slot in range(_FIRST_SLOT, SLOTS) if slot not in taken), None)
        if slot is None:
            raise ValueError("no PCI slot is left")
        bases = [self._place(bar.size, ports=bar.ports) for bar in identity.bars]
        self._insert(slot, model, identity, bases, wiring, wires)
        kernel.run(self._found(slot))
        return slot

    def seat(self, slot: int, model: Any, wiring: Wiring, wires: Wires) -> None:
        """Put a model back into a slot, which is as it was."""
        identity = _identity(wiring)
        function = self._insert(slot, model, identity, [0] * len(identity.bars), wiring, wires)
        function.load(self._empty.pop(slot << 3))

    def _insert(
        self, slot: int, model: Any, identity: Identity, bases: list[int], wiring: Wiring, wires: Wires
    ) -> Function:
        cpu = self._kernel.cpu
        function = Function(model, identity, bases, wiring.irq or 0, cpu.mmio, cpu.ports)
        wires.masters, wires.message = lambda: function.masters, function.message
        function.send = self._kernel.irqs.message
        self._bridge.functions[slot << 3] = function
        return function

    def unplug(self, slot: int) -> None:
        """Take a card out."""
        self._kernel.run(self._gone(slot))
        self._bridge.functions.pop(slot << 3).unplug()

    async def _gone(self, slot: int) -> None:
        kernel = self._kernel
        device = await kernel.call_guest(kernel.symbol("pci_get_slot"), self._root, slot << 3)
        await kernel.call_guest(kernel.symbol("pci_stop_and_remove_bus_device_locked"), device)
        await kernel.call_guest(kernel.symbol("pci_dev_put"), device)

    def _place(self, size: int, *, ports: bool) -> int:
        base = (self._free[ports] + size - 1) & -size
        if ports and base + size - 1 > _LAST_PORT:
            raise ValueError("no ports are left for another PCI device")
        self._free[ports] = base + size
        return base

    async def _found(self, slot: int) -> None:
        """Let the kernel scan a slot, take the device's addresses as they are, and look for its driver."""
        kernel = self._kernel
        device = await kernel.call_guest(kernel.symbol("pci_scan_single_device"), self._root, slot << 3)
        if not device:
            raise KernelError(errno.ENODEV, f"the kernel sees no device in PCI slot {slot}")
        await kernel.call_guest(kernel.symbol("pcibios_resource_survey_bus"), self._root)
        await kernel.call_guest(kernel.symbol("pci_bus_add_device"), device)

    async def find(self) -> None:
        """Let the kernel find the bus and what is built in."""
        kernel = self._kernel
        for variable, value in _CHOICES.items():
            kernel.memory.write_u64(kernel.symbol(variable), kernel.symbol(value))
        await kernel.call_guest(kernel.symbol("pcibios_scan_root"), 0)
        self._root = await kernel.call_guest(kernel.symbol("pci_find_bus"), 0, 0)
        await kernel.call_guest(kernel.symbol("pcibios_resource_survey_bus"), self._root)

    def save(self) -> Any:
        """State for a snapshot or file."""
        places = {place: function.save() for place, function in self._bridge.functions.items()} | self._empty
        return {
            "root": self._root,
            "places": [list(each) for each in sorted(places.items())],
            "free": list(self._free.values()),
        }

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        self._root, self._free = state["root"], dict(zip((False, True), state["free"], strict=True))
        functions, self._empty = self._bridge.functions, dict(state["places"])
        for place in set(functions) - set(self._empty):
            functions.pop(place).unplug()
        for place, function in functions.items():
            function.load(self._empty.pop(place))


def _identity(wiring: Wiring) -> Identity:
    return Identity.of(wiring.pci or "", wiring.class_code, wiring.subsystem, wiring.bars, wiring.vectors)
