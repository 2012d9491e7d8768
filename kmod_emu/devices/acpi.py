"""What firmware leaves of ACPI: tables that name a PC's devices, and the registers for power (ACPI 1.0).

Names are those of the specification. The machine is in ACPI mode from the beginning.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

_EVENTS, _CONTROL, _TIMER = 0, 4, 8  # offsets of the registers
_PORTS, _SCI = 0x600, 9
_POWER_BUTTON, _MODE = 1 << 8, 1
_TIMER_HZ, _TIMER_MASK = 3_579_545, (1 << 24) - 1
_CENTURY = 0x32  # where in the clock's memory
_FLAGS = 0xA5  # WBINVD works, C1, no sleep button, the clock wakes; a power button is there
_SLOW = 0xFFF  # microseconds to leave C2 and C3: there are none
_OEM = b"KMODEM"


class PowerManagement:
    """The registers of fixed events, and a timer."""

    wiring: ClassVar[dict[str, Any]] = {"ports": _PORTS, "size": 16, "irq": _SCI}

    def __init__(self) -> None:
        self._wires: Wires | None = None
        self._happened = self._enabled = self._control = 0

    def connect(self, wires: Wires) -> None:
        """It is in its place."""
        self._wires = wires

    def press_button(self) -> None:
        """Somebody presses the power button."""
        self._happened |= _POWER_BUTTON
        if self._enabled & _POWER_BUTTON and self._wires:
            self._wires.raise_irq()

    def read(self, offset: int, size: int) -> int:
        """Read registers."""
        now = int((self._wires.now() if self._wires else 0) * _TIMER_HZ) & _TIMER_MASK
        words = struct.pack("<HHI", self._happened, self._enabled, self._control | _MODE) + struct.pack(
            "<II", now, 0
        )
        return int.from_bytes(words[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register; of what has happened, ones clear."""
        if offset == _EVENTS:
            self._happened &= ~value
            if size == 4:
                self._enabled = value >> 16
        elif offset == _EVENTS + 2:
            self._enabled = value & 0xFFFF
        elif offset == _CONTROL:
            self._control = value & 0xFFFF

    def save(self) -> Any:
        """State as plain data."""
        return [self._happened, self._enabled, self._control]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._happened, self._enabled, self._control = state


# --- tables -------------------------------------------------------------------------------------------


def tables(address: int) -> bytes:
    """RSDP, RSDT, FADT, FACS and DSDT, as they lie from a physical address on, a multiple of 64."""
    places = [address + 64 * place for place in (1, 2, 4, 5)]
    rsdt, fadt, facs, dsdt = places
    head = b"RSD PTR " + b"\0" + _OEM + b"\0" + struct.pack("<I", rsdt)
    return b"".join(
        part.ljust(64 * -(-len(part) // 64), b"\0")
        for part in (
            _summed(head, 8),
            _table(b"RSDT", struct.pack("<I", fadt)),
            _table(b"FACP", _fadt(facs, dsdt)),
            struct.pack("<4sI", b"FACS", 64),
            _table(b"DSDT", _dsdt()),
        )
    )


def _summed(table: bytes, place: int) -> bytes:
    """With a byte that makes the sum of all zero."""
    return table[:place] + bytes([-sum(table) & 0xFF]) + table[place + 1 :]


def _table(signature: bytes, body: bytes) -> bytes:
    head = struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, _OEM, _OEM, 1, _OEM, 1)
    return _summed(head + body, 9)


def _fadt(facs: int, dsdt: int) -> bytes:
    blocks = (_PORTS + _EVENTS, 0, _PORTS + _CONTROL, 0, 0, _PORTS + _TIMER, 0, 0)
    sizes = (4, 2, 0, 4, 0, 0, 0, 0)  # of events, control, timer; there are no general events
    return struct.pack(
        "<IIBBHI4x8I8BHHHH5B3xI",
        facs, dsdt, 0, 0, _SCI, 0, *blocks, *sizes, _SLOW, _SLOW, 0, 0, 0, 0, 0, 0, _CENTURY, _FLAGS,
    )  # fmt: skip


def _dsdt() -> bytes:
    """The devices that a PC has built in, in AML."""
    devices = (
        _device(b"KBD_", "PNP0303", _ports(0x60, 1), _ports(0x64, 1), _irq(1)),
        _device(b"MOU_", "PNP0F13", _irq(12)),
        _device(b"FDC0", "PNP0700", _ports(0x3F2, 4), _ports(0x3F7, 1), _irq(6), b"\x2a\x04\x00"),
        _device(b"COM1", "PNP0501", _ports(0x3F8, 8), _irq(4)),
        _device(b"RTC_", "PNP0B00", _ports(0x70, 8), _irq(8)),
    )
    off = b"\x08_S5_\x12\x06\x04" + bytes(4)  # Name (_S5, Package {0, 0, 0, 0}): how to switch off
    return off + b"\x10" + _package(b"\\_SB_" + b"".join(devices))


def _package(body: bytes) -> bytes:
    """With its length before it, in which the length counts, too."""
    if len(body) < 63:
        return bytes([len(body) + 1]) + body
    size = len(body) + 2
    return bytes([0x40 | size & 0xF, size >> 4]) + body


def _device(name: bytes, hid: str, *resources: bytes) -> bytes:
    letters = [ord(letter) - 0x40 for letter in hid[:3]]
    code = struct.pack(">HH", letters[0] << 10 | letters[1] << 5 | letters[2], int(hid[3:], 16))
    template = b"".join(resources) + b"\x79\0"
    buffer = b"\x11" + _package(bytes([0x0A, len(template)]) + template)
    return b"\x5b\x82" + _package(name + b"\x08_HID\x0c" + code + b"\x08_CRS" + buffer)


def _ports(first: int, count: int) -> bytes:
    return struct.pack("<BBHHBB", 0x47, 1, first, first, 1, count)


def _irq(number: int) -> bytes:
    return struct.pack("<BH", 0x22, 1 << number)
