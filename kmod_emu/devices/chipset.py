"""What is on the PCI bus of a PC before any card: Intel's 82441FX and PIIX, as firmware has set them up.

The machine of the recordings has the same functions. No disks are at the IDE channels, no chips on the SMBus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.devices.pci import Bar, Function, Identity

if TYPE_CHECKING:
    from kmod_emu.machine.io import Device, IoSpace

_NONE, _MULTIFUNCTION = Bar(0), b"\x80"
_COMMAND, _REVISION, _HEADER_TYPE, _LINE = 0x04, 0x08, 0x0E, 0x3C
_ANSWERS = b"\x03\x01"  # of the command register: at ports and addresses, and tells of parity errors
_BUS_MASTER_IDE = 0xC000
_COMMANDS_IDE, _CONTROLS_IDE = (0x1F0, 0x170), (0x3F6, 0x376)
_POWER, _SMBUS = 0x600, 0x700
_TIMING = range(0x40, 0x48)  # of the channels
_STATUS, _CONTROL = 0, 2  # of the SMBus
_START, _NOBODY = 0x40, 0x04


class Ide:
    """Two channels with no disk: all registers are 0."""

    def read(self, *place: int) -> int:
        """Read a register of a channel, or of its bus master."""
        return 0

    def write(self, *what: int) -> None:
        """Nobody is there to be told."""


class SmBus:
    """The host's registers; no chip answers."""

    def __init__(self) -> None:
        self._status = 0

    def read(self, offset: int, size: int) -> int:
        """Read a register."""
        return self._status if offset == _STATUS else 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register: ones clear what the status says."""
        if offset == _STATUS:
            self._status &= ~value
        elif offset == _CONTROL and value & _START:
            self._status |= _NOBODY


class BuiltIn(NamedTuple):
    """One of the functions.

    Attributes:
        place: Its slot and number, 8 * slot + number.
        identity: What it is.
        registers: What firmware has left in its configuration space, by offset.
        base: Of its fifth base address, if it has that.
        timing: As `Function` has it.
    """

    place: int
    identity: Identity
    registers: dict[int, bytes]
    base: int = 0
    timing: range = range(0)


_FUNCTIONS = (
    BuiltIn(0x00, Identity(0x8086, 0x1237, 0x060000, (0, 0), ()), {_REVISION: b"\x02"}),
    BuiltIn(0x08, Identity(0x8086, 0x7000, 0x060100, (0, 0), ()), {_HEADER_TYPE: _MULTIFUNCTION}),
    BuiltIn(
        0x09,
        Identity(0x8086, 0x7010, 0x010180, (0, 0), (*[_NONE] * 4, Bar(16, ports=True))),
        {0x40: b"\x00\x80\x00\x80"},  # both channels are decoded
        _BUS_MASTER_IDE,
        _TIMING,
    ),
    BuiltIn(
        0x0B,
        Identity(0x8086, 0x7113, 0x068000, (0, 0), ()),
        {
            _REVISION: b"\x03",
            _LINE: b"\x09\x01",
            0x40: (_POWER | 1).to_bytes(4, "little"),
            0x80: b"\x01",  # the registers of power management answer
            0x90: (_SMBUS | 1).to_bytes(4, "little"),
            0xD2: b"\x09",  # the SMBus answers, and interrupts by line 9
        },
    ),
)


def functions(memory: IoSpace, ports: IoSpace) -> dict[int, Function]:
    """The functions by place; what they have outside of configuration space is attached."""
    ide = Ide()
    at: list[tuple[int, int, Device]] = [(_SMBUS, 16, SmBus())]
    at += [(base, 8, ide) for base in _COMMANDS_IDE] + [(base, 1, ide) for base in _CONTROLS_IDE]
    for base, size, device in at:
        ports.attach(base, size, device)
    made = {}
    for each in _FUNCTIONS:
        bases = [each.base] * len(each.identity.bars)
        made[each.place] = Function(ide, each.identity, bases, 0, memory, ports)
        made[each.place].timing = each.timing
        made[each.place].leave({_COMMAND: _ANSWERS} | each.registers)
    return made
