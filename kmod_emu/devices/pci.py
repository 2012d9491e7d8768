"""The PCI bus as hardware: configuration space by ports 0xcf8 to 0xcff, base address registers, bus masters.

A model has `read(bar, offset, size)` and `write(bar, offset, size, value)`; what it is, an `Identity` says.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kmod_emu.machine.io import IoSpace

CONFIG_PORTS, CONFIG_SIZE = 0xCF8, 8
SLOTS = 32
_STATUS, _POINTER = 0x06, 0x34
_CAPABILITIES = 0x10  # of the status: the pointer leads to a list
_MSI, _MSIX = 0x50, 0x70  # where the capabilities are
_MSI_ID, _MSIX_ID = 5, 0x11
_MSI_ENABLE, _MSI_WIDE, _MSI_BITS = 1, 0x80, 0x71
_MSIX_ENABLE, _MSIX_MASK = 0x8000, 0x4000
_TABLE_SIZE, _PENDING = 0x1000, 0x800  # the table and the pending bits have a base address of their own
_ENTRY, _MASKED = 16, 1
_ADDRESS, _DATA = 0, 4  # of the two registers there
_ENABLE = 1 << 31
_COMMAND, _CLASS, _BARS, _SUBSYSTEM, _INTERRUPT = 0x04, 0x08, 0x10, 0x2C, 0x3C
_IO_ENABLE, _MEMORY_ENABLE, _MASTER = 1, 2, 4
_COMMAND_BITS = 0x0547  # of the command register, those that a device may be told
_PORTS = "ports"
_MOST_BARS, _MOST_VECTORS = 6, 64
_LEAST_MEMORY, _LEAST_PORTS = 16, 4


# Of the two capabilities, what may be written: who is to be told, and with what, and whether.
_WRITABLE = {_MSI: _MSI_BITS << 16, _MSI + 4: ~3 & 0xFFFF_FFFF, _MSI + 8: 0xFFFF_FFFF, _MSI + 12: 0xFFFF,
             _MSIX: (_MSIX_ENABLE | _MSIX_MASK) << 16}  # fmt: skip


class Bar(NamedTuple):
    """A base address register.

    Attributes:
        size: How many addresses, a power of two; 0 where the function has no such register.
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
        vectors: How many interrupt messages it can send, each with a vector of its own.
    """

    vendor: int
    device: int
    class_code: int
    subsystem: tuple[int, int]
    bars: tuple[Bar, ...]
    vectors: int = 0

    @classmethod
    def of(
        cls,
        pci: str,
        class_code: int = 0xFF0000,
        subsystem: str = "0000:0000",
        bars: Sequence[int | tuple[str, int]] = (),
        vectors: int = 0,
    ) -> Identity:
        """From what people write: ids as `lspci -n` shows them, sizes of memory, ("ports", size).

        Messages take another base address, the last.

        Raises:
            ValueError: It is none.
        """
        made = [_bar(each) for each in bars]
        if vectors:
            made.append(Bar(_TABLE_SIZE))
        if len(made) > _MOST_BARS:
            raise ValueError(f"a PCI device has {_MOST_BARS} base addresses at most")
        if not 0 <= vectors <= _MOST_VECTORS:
            raise ValueError(f"a PCI device has {_MOST_VECTORS} vectors at most, not {vectors}")
        return cls(*ids(pci), class_code, ids(subsystem), tuple(made), vectors)


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


class _Messages:
    """The table of an MSI-X device: for each vector an address, data, and whether it is masked."""

    def __init__(self, send: Callable[[int], object]) -> None:
        self.table = bytearray(_TABLE_SIZE)
        self._send = send

    def entry(self, vector: int) -> tuple[int, int, int]:
        """Address, data and control of a vector."""
        return struct.unpack_from("<QII", self.table, vector * _ENTRY)

    def hold(self, vector: int) -> None:
        """A masked vector was wanted."""
        self.table[_PENDING + vector // 8] |= 1 << vector % 8

    def release(self) -> None:
        """Send what was wanted and is masked no longer."""
        for vector in range(_MOST_VECTORS):
            place, bit = _PENDING + vector // 8, 1 << vector % 8
            if self.table[place] & bit and not self.entry(vector)[2] & _MASKED:
                self.table[place] &= ~bit
                self._send(vector)

    def read(self, offset: int, size: int) -> int:
        """Read the table."""
        return int.from_bytes(self.table[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Write it; the bits of what is pending are the device's own."""
        if offset < _PENDING:
            self.table[offset : offset + size] = value.to_bytes(size, "little")
            self.release()


class Function:
    """A device's configuration space.

    Args:
        model: Who answers behind its base addresses.
        identity: What it is.
        bases: The addresses that firmware has given it.
        irq: The line that firmware has led it to, 0 for none.
        memory: Where memory is.
        ports: Where ports are.

    Attributes:
        send: What writing an interrupt message to its address does: address, data.
        timing: Offsets of registers of its own that software may write, in words of 4 bytes.
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
        self.send: Callable[[int, int], object] = lambda address, data: None
        self.timing = range(0)
        self._messages = _Messages(self.message)
        self._windows: list[_Window | _Messages] = [
            _Window(model, index) for index in range(len(identity.bars))
        ]
        self._attached: set[int] = set()
        self._config = bytearray(256)
        struct.pack_into("<HH", self._config, 0, identity.vendor, identity.device)
        struct.pack_into("<I", self._config, _CLASS, identity.class_code << 8)
        struct.pack_into("<HH", self._config, _SUBSYSTEM, *identity.subsystem)
        self._config[_INTERRUPT : _INTERRUPT + 2] = bytes([irq, 1 if irq else 0])
        if identity.vectors:
            self._windows[-1] = self._messages
            self._offer_messages(identity.vectors)
        for index, base in enumerate(bases):
            self._set_bar(index, base)

    def _offer_messages(self, vectors: int) -> None:
        """Two capabilities, the better of which drivers choose."""
        config, bar = self._config, len(self._identity.bars) - 1
        config[_STATUS], config[_POINTER] = _CAPABILITIES, _MSI
        log = min(vectors.bit_length() - 1, 5)
        struct.pack_into("<BBH", config, _MSI, _MSI_ID, _MSIX, _MSI_WIDE | log << 1)
        struct.pack_into("<BBHII", config, _MSIX, _MSIX_ID, 0, vectors - 1, bar, _PENDING | bar)

    def leave(self, registers: Mapping[int, bytes]) -> None:
        """Set registers, also those that software cannot, as firmware and the factory do."""
        for offset, value in registers.items():
            self._config[offset : offset + len(value)] = value
        self._decode()

    def message(self, vector: int) -> bool:
        """Send an interrupt message, if the driver has chosen them: False if it has not."""
        if not self._identity.vectors:
            return False
        control = self.read(_MSIX + 2, 2)
        if control & _MSIX_ENABLE:
            address, data, masked = self._messages.entry(vector % self._identity.vectors)
            if control & _MSIX_MASK or masked & _MASKED:
                self._messages.hold(vector % self._identity.vectors)
            else:
                self.send(address, data)
            return True
        control = self.read(_MSI + 2, 2)
        if control & _MSI_ENABLE:
            granted = 1 << (control >> 4 & 7)
            self.send(self.read(_MSI + 4, 8), self.read(_MSI + 12, 2) | vector % granted)
            return True
        return False

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
        elif self._identity.vectors and word in _WRITABLE:
            allowed = _WRITABLE[word]
            struct.pack_into("<I", self._config, word, self.read(word, 4) & ~allowed | value & allowed)
            self._messages.release()
        elif word in self.timing:
            struct.pack_into("<I", self._config, word, value)
        elif _BARS <= word < _BARS + 4 * len(self._identity.bars):
            self._set_bar((word - _BARS) // 4, value)
        self._decode()

    def _set_bar(self, index: int, value: int) -> None:
        bar = self._identity.bars[index]
        value = value & 0xFFFF_FFFF & -bar.size | bar.ports if bar.size else 0
        struct.pack_into("<I", self._config, _BARS + 4 * index, value)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self._config.hex(), self._messages.table.hex() if self._identity.vectors else ""]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._config[:] = bytes.fromhex(state[0])
        if state[1]:
            self._messages.table[:] = bytes.fromhex(state[1])
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
            if bar.size and command & (_IO_ENABLE if bar.ports else _MEMORY_ENABLE):
                base = self.read(_BARS + 4 * index, 4) & -bar.size
                with suppress(ValueError):  # another device answers there
                    self._space(index).attach(base, bar.size, self._windows[index])
                    self._attached.add(index)

    def _space(self, index: int) -> IoSpace:
        return self._ports if self._identity.bars[index].ports else self._memory


class HostBridge:
    """Bus 0 by the two registers that PCs have for it; no bus is behind another."""

    def __init__(self) -> None:
        self.functions: dict[int, Function] = {}  # by place: 8 * slot + number
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
        if not self._address & _ENABLE or self._address >> 16 & 0xFF:
            return None
        return self.functions.get(self._address >> 8 & 0xFF)
