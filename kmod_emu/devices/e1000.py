"""An Ethernet card like Intel's 82540EM: its registers, EEPROM, PHY, rings of descriptors.

Registers have the names of Intel's manual (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
Developer's Manual). Frames are not cut into segments for the driver, and VLAN tags are left as they are.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from kmod_emu.devices.microwire import Eeprom
from kmod_emu.devices.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.devices.wires import Wires

_CTRL, _STATUS, _EECD, _EERD, _MDIC = 0x0000, 0x0008, 0x0010, 0x0014, 0x0020
_ICR, _ICS, _IMS, _IMC = 0x00C0, 0x00C8, 0x00D0, 0x00D8
_RCTL, _TCTL = 0x0100, 0x0400
_RDBAL, _RDBAH, _RDLEN, _RDH, _RDT = 0x2800, 0x2804, 0x2808, 0x2810, 0x2818
_TDBAL, _TDBAH, _TDLEN, _TDH, _TDT = 0x3800, 0x3804, 0x3808, 0x3810, 0x3818
_TPR, _TPT = 0x40D0, 0x40D4  # packets received and transmitted, cleared by reading
_STATISTICS = range(0x4000, 0x4100)
_MTA, _RAL = range(0x5200, 0x5400), range(0x5400, 0x5480)

_RESET = 1 << 26  # CTRL
_LINK, _FULL_DUPLEX, _GIGABIT = 2, 1, 0x80  # STATUS
_READY, _BY_PHY_READ = 1 << 28, 2 << 26  # MDIC
_EERD_START, _EERD_DONE = 1, 1 << 4
_TX_DONE, _TX_EMPTY, _LINK_CHANGED, _RX_OVERRUN, _RX_DONE = 1, 2, 4, 0x40, 0x80  # ICR
_ENABLE = 2  # RCTL and TCTL
_SIZE_SHIFT, _BIGGER = 16, 1 << 25  # RCTL: size of receive buffers
_STRIP_CRC = 1 << 26
_PROMISCUOUS = 8

_DESCRIPTOR, _LENGTH = 16, 0xF_FF80  # bytes of one; bits that the length of a ring has
_CMD_EOP, _CMD_REPORT, _CMD_EXTENDED = 0x01, 0x08, 0x20
_TYPE_DATA = 1
_INSERT_TCP, _INSERT_IP = 2, 1  # POPTS
_DD, _EOP = 1, 2

_PHY_ADDRESS = 1
_PHY_CONTROL, _PHY_STATUS, _PHY_SPECIFIC = 0, 1, 17
_PHY_ID = {2: 0x0141, 3: 0x0C20}
_PHY_CAPABILITIES = {4: 0x01E1, 5: 0xC1E1, 9: 0x0E00, 10: 0x3C00}  # what both ends can do
_AUTO_DONE, _LINK_UP = 1 << 5, 1 << 2
_PHY_ABILITIES = 0x7949
_GIGABIT_UP = 0xAC00  # of the M88's own status: gigabit, full duplex, resolved, up

_PLAIN = ("_causes", "_mask", "_insert", "_port_address")
_ROUND_TRIP = 200e-6  # seconds
DEFAULT_MAC = "52:54:00:12:34:56"
_CHECKSUM = 0xBABA


class E1000:
    """The card; its cable leads to Python.

    Args:
        mac: Its address.
        sent: Called with each frame that the card sends, without its checksum.
        peer: IPv4 address of somebody at the other end of the cable, who answers ARP and ping.

    Attributes:
        frames: What it has sent.
        eeprom: The chip that holds its address.

    Raises:
        ValueError: That is no address.
    """

    wiring: ClassVar[dict[str, Any]] = {
        "pci": "8086:100e",
        "class_code": 0x020000,
        "subsystem": "8086:001e",
        "bars": [0x20000, ("ports", 0x40)],
        "irq": 11,
    }

    def __init__(
        self, mac: str = DEFAULT_MAC, sent: Callable[[bytes], None] | None = None, peer: str = ""
    ) -> None:
        self.eeprom = Eeprom(_eeprom(_address(mac)))
        self._sent, self._peer = sent, Peer(peer) if peer else None
        self._wires: Wires | None = None
        self.frames: list[bytes] = []
        self._port_address = 0
        self._reset()

    def connect(self, wires: Wires) -> None:
        """It is in its slot."""
        self._wires = wires

    def _reset(self) -> None:
        mac = struct.pack("<3H", *self.eeprom.words[:3])
        self._registers = {
            _STATUS: _LINK | _FULL_DUPLEX | _GIGABIT,
            _RAL[0]: int.from_bytes(mac[:4], "little"),
            _RAL[4]: int.from_bytes(mac[4:], "little") | 1 << 31,
        }
        self._phy: dict[int, int] = {_PHY_CONTROL: 0x1140}
        self._causes = self._mask = 0
        self._parts = b""  # of a frame whose end has not come
        self._context = bytes(_DESCRIPTOR)
        self._insert = 0

    def save(self) -> dict[str, Any]:
        """State as plain data; what it has sent is its number."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "registers": list(self._registers.items()),
            "phy": list(self._phy.items()),
            "parts": self._parts.hex(),
            "context": self._context.hex(),
            "eeprom": self.eeprom.save(),
            "frames": len(self.frames),
            "peer": str(self._peer) if self._peer else "",
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._registers, self._phy = dict(state["registers"]), dict(state["phy"])
        self._parts, self._context = (bytes.fromhex(state[name]) for name in ("parts", "context"))
        self.eeprom.load(state["eeprom"])
        del self.frames[state["frames"] :]
        self._peer = Peer(state["peer"]) if state["peer"] else None

    # --- registers ------------------------------------------------------------------------------------

    def read(self, bar: int, offset: int, size: int) -> int:
        """Read a register; by ports, one holds the address of what the other reads."""
        if bar:
            return self._port_address if offset < 4 else self._read(self._port_address)
        return self._read(offset & ~3) >> 8 * (offset & 3)

    def write(self, bar: int, offset: int, size: int, value: int) -> None:
        """Write a register."""
        if not bar:
            self._write(offset, value)
        elif offset < 4:
            self._port_address = value
        else:
            self._write(self._port_address, value)

    def _read(self, register: int) -> int:
        if register == _ICR:
            causes, self._causes = self._causes, 0
            return causes
        if register == _IMS:
            return self._mask
        if register == _EECD:
            return self.eeprom.lines()
        if register in _STATISTICS:
            return self._registers.pop(register, 0)
        return self._registers.get(register, 0)

    def _write(self, register: int, value: int) -> None:
        if register == _CTRL and value & _RESET:
            self._reset()
        elif register == _EECD:
            self.eeprom.drive(value)
        elif register == _EERD and value & _EERD_START:
            word = self.eeprom.words[value >> 8 & 0xFF & len(self.eeprom.words) - 1]
            self._registers[_EERD] = word << 16 | _EERD_DONE
        elif register == _MDIC:
            self._registers[_MDIC] = self._manage(value)
        elif register == _ICS:
            self._interrupt(value)
        elif register == _IMS:
            self._mask |= value
            self._interrupt(0)
        elif register == _IMC:
            self._mask &= ~value
        elif register not in (_STATUS, _ICR):
            self._registers[register] = value
            if register == _TDT:
                self._transmit()

    def _manage(self, value: int) -> int:
        """An access to the PHY by MDIC: it is done at once."""
        phy, register = value >> 21 & 0x1F, value >> 16 & 0x1F
        if phy != _PHY_ADDRESS:
            return value | _READY | 0xFFFF
        if value & _BY_PHY_READ:
            return value & 0xFFFF_0000 | _READY | self._read_phy(register)
        if register == _PHY_CONTROL:
            if value & 0x200:  # negotiation begins again, and is over
                self._interrupt(_LINK_CHANGED)
            value &= ~0x8200  # what begins by itself ends by itself
        self._phy[register] = value & 0xFFFF
        return value & 0xFFFF_FFFF | _READY

    def _read_phy(self, register: int) -> int:
        if register == _PHY_STATUS:
            return _PHY_ABILITIES | _AUTO_DONE | _LINK_UP
        if register == _PHY_SPECIFIC:
            return _GIGABIT_UP
        known = _PHY_ID | _PHY_CAPABILITIES | self._phy
        return known.get(register, 0)

    def _interrupt(self, causes: int) -> None:
        self._causes |= causes
        if self._causes & self._mask and self._wires:
            self._wires.raise_irq()

    # --- sending --------------------------------------------------------------------------------------

    def _ring(self, low: int) -> tuple[int, int]:
        """Address and number of descriptors of a ring whose registers begin at `low`."""
        get = self._registers.get
        return get(low, 0) & ~15 | get(low + 4, 0) << 32, (get(low + 8, 0) & _LENGTH) // _DESCRIPTOR

    def _transmit(self) -> None:
        """Send what lies between head and tail."""
        registers, wires = self._registers, self._wires
        base, count = self._ring(_TDBAL)
        if not registers.get(_TCTL, 0) & _ENABLE or not count or wires is None:
            return
        causes = _TX_EMPTY
        while (head := registers.get(_TDH, 0) % count) != registers.get(_TDT, 0) % count:
            place = base + head * _DESCRIPTOR
            if self._process(wires.read_memory(place, _DESCRIPTOR)):
                wires.write_memory(place + 12, bytes([wires.read_memory(place + 12, 1)[0] | _DD]))
                causes |= _TX_DONE
            registers[_TDH] = (head + 1) % count
        self._interrupt(causes)

    def _process(self, descriptor: bytes) -> bool:
        """One descriptor; whether the driver wants to know that it is done."""
        assert self._wires is not None
        address, word, options = struct.unpack("<QIxBxx", descriptor)
        command = word >> 24
        extended = command & _CMD_EXTENDED
        if extended and word >> 20 & 0xF != _TYPE_DATA:
            self._context = descriptor
            return bool(command & _CMD_REPORT)
        if not self._parts:
            self._insert = options if extended else 0
        self._parts += self._wires.read_memory(address, word & (0xF_FFFF if extended else 0xFFFF))
        if command & _CMD_EOP:
            frame, self._parts = self._with_checksums(self._parts), b""
            self._count(_TPT)
            self.frames.append(frame)
            if self._sent is not None:
                self._sent(frame)
            answer = self._peer.answer(frame) if self._peer else None
            if answer is not None:
                self._wires.after(_ROUND_TRIP, partial(self.receive, answer))
        return bool(command & _CMD_REPORT)

    def _with_checksums(self, frame: bytes) -> bytes:
        """What the context of the frame says is to be summed up."""
        made, (ip, tcp) = bytearray(frame), struct.iter_unpack("<BBH", self._context[:8])
        for bit, (start, place, end) in ((_INSERT_TCP, tcp), (_INSERT_IP, ip)):
            if self._insert & bit and start < place < len(made) - 1:
                total = _sum(bytes(made[start : end + 1 if end else len(made)]))
                made[place : place + 2] = (~total & 0xFFFF).to_bytes(2, "big")
        return bytes(made)

    def _count(self, register: int) -> None:
        self._registers[register] = self._registers.get(register, 0) + 1

    # --- receiving ------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> bool:
        """A frame comes in by the cable, without its checksum; False if the card cannot take it.

        Raises:
            ValueError: It is too short to be one.
        """
        if len(frame) < 14:
            raise ValueError("a frame has two addresses and a type: 14 bytes at least")
        control, registers, wires = self._registers.get(_RCTL, 0), self._registers, self._wires
        base, count = self._ring(_RDBAL)
        if wires is None or not control & _ENABLE or not count or not self._for_us(frame, control):
            return False
        frame = frame.ljust(60, b"\0")
        data = frame if control & _STRIP_CRC else frame + bytes(4)
        room = 2048 >> (control >> _SIZE_SHIFT & 3) << (4 if control & _BIGGER else 0)
        while data:
            head = registers.get(_RDH, 0) % count
            if head == registers.get(_RDT, 0) % count:
                self._interrupt(_RX_OVERRUN)
                return False
            place = base + head * _DESCRIPTOR
            (address,) = struct.unpack("<Q", wires.read_memory(place, 8))
            part, data = data[:room], data[room:]
            wires.write_memory(address, part)
            status = _DD | (0 if data else _EOP)
            wires.write_memory(place + 8, struct.pack("<HHBBH", len(part), 0, status, 0, 0))
            registers[_RDH] = (head + 1) % count
        self._count(_TPR)
        self._interrupt(_RX_DONE)
        return True

    def _for_us(self, frame: bytes, control: int) -> bool:
        low, high = self._registers.get(_RAL[0], 0), self._registers.get(_RAL[4], 0)
        own = low.to_bytes(4, "little") + (high & 0xFFFF).to_bytes(2, "little")
        return bool(frame[0] & 1 or frame[:6] == own or control & _PROMISCUOUS)


def _address(mac: str) -> bytes:
    try:
        address = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        address = b""
    if len(address) != 6 or address[0] & 1:
        raise ValueError(f"a card's address is written as {DEFAULT_MAC}, not {mac!r}")
    return address


def _eeprom(mac: bytes) -> list[int]:
    """Its 64 words: the address, who made the card, and a last one that makes the sum what it has to be."""
    words = [*struct.unpack("<3H", mac), *[0xFFFF] * 60]
    words[0x0A:0x10] = [0x640B, 0x001E, 0x8086, 0x100E, 0x8086, 0x3040]
    return [*words, _CHECKSUM - sum(words) & 0xFFFF]


def _sum(data: bytes) -> int:
    """The Internet's checksum, not inverted."""
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data + bytes(len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
