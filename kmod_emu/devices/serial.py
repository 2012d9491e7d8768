"""A serial port of a PC: a 16550A, whose line leads to Python.

Registers have the names of the chip's data sheet. What is sent is there at once; nothing breaks the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

_DATA, _IER, _IIR, _LCR, _MCR, _LSR, _MSR, _SCR = range(8)
_DIVISOR_ACCESS = 0x80  # LCR: the first two registers are the divisor
_RECEIVED, _SENT = 1, 2  # IER
_NONE, _CAUSE_SENT, _CAUSE_RECEIVED, _HAS_FIFO = 1, 2, 4, 0xC0  # IIR
_FIFO, _CLEAR_RECEIVED = 1, 2  # FCR
_READY, _EMPTY = 1, 0x60  # LSR
_LOOP = 0x10  # MCR
_CONNECTED = 0xB0  # MSR: carrier, data set ready, clear to send
_PLAIN = ("_interrupts", "_fifo", "_line", "_modem", "_scratch", "_divisor", "_told", "_raised")


class Uart:
    """The port.

    Attributes:
        sent: What came out of it.
    """

    wiring: ClassVar[dict[str, Any]] = {"ports": 0x3F8, "size": 8, "irq": 4}

    def __init__(self) -> None:
        self.sent = bytearray()
        self._wires: Wires | None = None
        self._received: list[int] = []
        self._interrupts = self._fifo = self._line = self._modem = self._scratch = 0
        self._divisor = 12
        self._told = True  # whether the driver knows that all is sent
        self._raised = False

    def connect(self, wires: Wires) -> None:
        """It is in its place."""
        self._wires = wires

    def receive(self, data: bytes) -> None:
        """Something comes in by the line."""
        self._received += data
        self._update()

    def read(self, offset: int, size: int) -> int:
        """Read a register."""
        if offset < _IIR and self._line & _DIVISOR_ACCESS:
            return self._divisor >> 8 * offset
        if offset == _DATA:
            value = self._received.pop(0) if self._received else 0
        elif offset == _IIR:
            value = self._cause() | (_HAS_FIFO if self._fifo else 0)
            self._told = self._told or self._cause() == _CAUSE_SENT
        else:
            return {
                _IER: self._interrupts,
                _LCR: self._line,
                _MCR: self._modem,
                _LSR: _EMPTY | bool(self._received),
                _MSR: self._modem_status(),
                _SCR: self._scratch,
            }[offset]
        self._update()
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register."""
        if offset < _IIR and self._line & _DIVISOR_ACCESS:
            shift = 8 * offset
            self._divisor = self._divisor & ~(0xFF << shift) | (value & 0xFF) << shift
        elif offset == _DATA:
            if self._modem & _LOOP:
                self._received.append(value & 0xFF)
            else:
                self.sent.append(value & 0xFF)
            self._told = False
        elif offset == _IER:
            if value & ~self._interrupts & _SENT:
                self._told = False
            self._interrupts = value & 0x0F
        elif offset == _IIR:
            self._fifo = value & _FIFO
            if value & _CLEAR_RECEIVED:
                self._received.clear()
        elif offset == _LCR:
            self._line = value & 0xFF
        elif offset == _MCR:
            self._modem = value & 0x1F
        elif offset == _SCR:
            self._scratch = value & 0xFF
        self._update()

    def _modem_status(self) -> int:
        if not self._modem & _LOOP:
            return _CONNECTED
        # RTS, DTR, OUT1 and OUT2 come back as CTS, DSR, RI and DCD
        return (self._modem & 2) << 3 | (self._modem & 1) << 5 | (self._modem & 0xC) << 4

    def _cause(self) -> int:
        if self._interrupts & _RECEIVED and self._received:
            return _CAUSE_RECEIVED
        return _CAUSE_SENT if self._interrupts & _SENT and not self._told else _NONE

    def _update(self) -> None:
        """An edge on the interrupt line for each time that there is something to tell."""
        raised = self._cause() != _NONE
        if raised and not self._raised and self._wires:
            self._wires.raise_irq()
        self._raised = raised

    def save(self) -> dict[str, Any]:
        """State as plain data; what it has sent is its number."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "received": list(self._received), "sent": len(self.sent)}

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self._received = list(state["received"])
        del self.sent[state["sent"] :]
