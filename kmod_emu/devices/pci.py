"""The PCI bus as hardware: configuration space by ports 0xcf8 to 0xcff, base address registers, bus masters.

A model has `read(bar, offset, size)` and `write(bar, offset, size, value)`; what it is, an `Identity` says.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.machine.io import IoSpace

CONFIG_PORTS, CONFIG_SIZE = 0xCF8, 8
SLOTS = 32
_ADDRESS, _DATA = 0, 4  # of the two registers there
_ENABLE = 1 << 31
_COMMAND, _CLASS, _BARS, _SUBSYSTEM, _INTERRUPT = 0x04, 0x08, 0x10, 0x2C, 0x3C
_IO_ENABLE, _MEMORY_ENABLE, _MASTER = 1, 2, 4
_COMMAND_BITS = 0x0547  # of the command register, those that a device may be told
_PORTS = "ports"
_MOST_BARS = 6
_LEAST_MEMORY, _LEAST_PORTS = 16, 4


class Bar(NamedTuple):
    """A base address register.

    Attributes:
        size: How many addresses, a power of two.
        ports: Whether they are ports instead of memory.
    """

    size: int
    ports: bool = False


class Identity(NamedTuple):
    """What a PCI device says that it is.

    Attributes:
        vendor: 0x8086 is Intel.
        device: The vendor's number of it.
        class_code: Base class, class and programming interface: 0x020000 is an Ethernet card.
        subsystem: Vendor and device of the board.
        bars: Its base address registers, in order.
    """

    vendor: int
    device: int
    class_code: int
    subsystem: tuple[int, int]
    bars: tuple[Bar, ...]

    @classmethod
    def of(
        cls,
        pci: str,
        class_code: int = 0xFF0000,
        subsystem: str = "0000:0000",
        bars: Sequence[int | tuple[str, int]] = (),
    ) -> Identity:
        """From what people write: ids as `lspci -n` shows them, sizes of memory, ("ports", size).

        Raises:
            ValueError: It is none.
        """
        if len(bars) > _MOST_BARS:
            raise ValueError(f"a PCI device has {_MOST_BARS} base addresses at most")
        return cls(*ids(pci), class_code, ids(subsystem), tuple(_bar(each) for each in bars))


def ids(text: str, bus: str = "PCI") -> tuple[int, int]:
    """Vendor and device, as `lspci -n` and `lsusb` show them.

    Raises:
        ValueError: It is none.
    """
    vendor, colon, device = text.partition(":")
    try:
        found = int(vendor, 16), int(device, 16)
    except ValueError:
        found = -1, -1
    if not colon or not all(0 <= each <= 0xFFFF for each in found):
        raise ValueError(f'a {bus} id is written as "8086:100e", not {text!r}')
    return found


def _bar(written: int | tuple[str, int]) -> Bar:
    bar = Bar(written) if isinstance(written, int) else Bar(written[1], written[0] == _PORTS)
    if bar.size < (_LEAST_PORTS if bar.ports else _LEAST_MEMORY) or bar.size & bar.size - 1:
        raise ValueError(f"the size of a base address is a power of two, not {bar.size:#x}")
    return bar


class _Window:
    """What a base address leads to."""

    def __init__(self, model: Any, bar: int) -> None:
        self._model, self._bar = model, bar

    def read(self, offset: int, size: int) -> int:
        return int(self._model.read(self._bar, offset, size))

    def write(self, offset: int, size: int, value: int) -> None:
        self._model.write(self._bar, offset, size, value)


class Function:
    """A device's configuration space.

    Args:
        model: Who answers behind its base addresses.
        identity: What it is.
        bases: The addresses that firmware has given it.
        irq: The line that firmware has led it to, 0 for none.
        memory: Where memory is.
        ports: Where ports are.
    """

    def __init__(
        self,
        model: Any,
        identity: Identity,
        bases: Sequence[int],
        irq: int,
        memory: IoSpace,
        ports: IoSpace,
    ) -> None:
        self.model = model
        self._identity, self._memory, self._ports = identity, memory, ports
        self._windows = [_Window(model, index) for index in range(len(identity.bars))]
        self._attached: set[int] = set()
        self._config = bytearray(256)
        struct.pack_into("<HH", self._config, 0, identity.vendor, identity.device)
        struct.pack_into("<I", self._config, _CLASS, identity.class_code << 8)
        struct.pack_into("<HH", self._config, _SUBSYSTEM, *identity.subsystem)
        self._config[_INTERRUPT : _INTERRUPT + 2] = bytes([irq, 1 if irq else 0])
        for index, base in enumerate(bases):
            self._set_bar(index, base)

    @property
    def masters(self) -> bool:
        """Whether it may reach RAM by itself."""
        return bool(self._config[_COMMAND] & _MASTER)

    def read(self, offset: int, size: int) -> int:
        """Read configuration space."""
        return int.from_bytes(self._config[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Write configuration space: what may be written there, changes."""
        word, shift = offset & ~3, 8 * (offset & 3)
        mask = (1 << 8 * size) - 1 << shift
        value = self.read(word, 4) & ~mask | value << shift & mask
        if word == _COMMAND:
            self._config[_COMMAND : _COMMAND + 2] = (value & _COMMAND_BITS).to_bytes(2, "little")
        elif word == _INTERRUPT:
            self._config[_INTERRUPT] = value & 0xFF
        elif _BARS <= word < _BARS + 4 * len(self._identity.bars):
            self._set_bar((word - _BARS) // 4, value)
        self._decode()

    def _set_bar(self, index: int, value: int) -> None:
        bar = self._identity.bars[index]
        value = value & 0xFFFF_FFFF & -bar.size | bar.ports
        struct.pack_into("<I", self._config, _BARS + 4 * index, value)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return self._config.hex()

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._config[:] = bytes.fromhex(state)
        self._decode()

    def unplug(self) -> None:
        """Answer nowhere any more."""
        for index in self._attached:
            self._space(index).detach(self._windows[index])
        self._attached.clear()

    def _decode(self) -> None:
        """Answer at the addresses in the registers, and nowhere else."""
        self.unplug()
        command = self._config[_COMMAND]
        for index, bar in enumerate(self._identity.bars):
            if command & (_IO_ENABLE if bar.ports else _MEMORY_ENABLE):
                base = self.read(_BARS + 4 * index, 4) & -bar.size
                with suppress(ValueError):  # another device answers there
                    self._space(index).attach(base, bar.size, self._windows[index])
                    self._attached.add(index)

    def _space(self, index: int) -> IoSpace:
        return self._ports if self._identity.bars[index].ports else self._memory


class HostBridge:
    """Bus 0 by the two registers that PCs have for it; no bus is behind another."""

    def __init__(self) -> None:
        self.functions: dict[int, Function] = {}  # by slot
        self._address = 0

    def read(self, offset: int, size: int) -> int:
        """Read one of the registers."""
        if offset < _DATA:
            return self._address >> 8 * offset
        function = self._function()
        return function.read(self._address & 0xFC | offset - _DATA, size) if function else -1

    def write(self, offset: int, size: int, value: int) -> None:
        """Write one of the registers."""
        if offset >= _DATA:
            if function := self._function():
                function.write(self._address & 0xFC | offset - _DATA, size, value)
        elif size == 4:
            self._address = value

    def _function(self) -> Function | None:
        if not self._address & _ENABLE or self._address >> 16 & 0xFF or self._address >> 8 & 7:
            return None
        return self.functions.get(self._address >> 11 & (SLOTS - 1))
