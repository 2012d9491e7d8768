"""A floppy disk controller without drives: an 82078 in its AT mode.

It answers commands about itself; those that need a drive end with the status that nothing turns there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

_DOR, _MSR, _FIFO = 2, 4, 5
_RUN, _LINES = 4, 8  # DOR: not reset; interrupts and DMA lead out
_REQUEST, _FROM_CHIP, _BUSY = 0x80, 0x40, 0x10  # MSR
_INVALID = 0x80  # ST0, and its interrupt codes:
_ABNORMAL, _READY_CHANGED, _SEEK_END, _NO_TRACK = 0x40, 0xC0, 0x20, 0x10
_NO_MARK = 1  # ST1
_PART, _VERSION, _LOCKED = 0x41, 0x90, 0x10


class _Command(NamedTuple):
    """How many bytes it has, and the method that makes its result."""

    size: int
    answer: str


_COMMANDS = {
    0x03: _Command(3, "_nothing"),  # specify
    0x04: _Command(2, "_drive"),
    0x07: _Command(2, "_seek"),  # to track 0
    0x08: _Command(1, "_sense"),
    0x0E: _Command(1, "_registers"),
    0x0F: _Command(3, "_seek"),
    0x10: _Command(1, "_version"),
    0x12: _Command(2, "_nothing"),  # perpendicular
    0x13: _Command(4, "_configure"),
    0x14: _Command(1, "_lock"),
    0x18: _Command(1, "_part"),
    0x02: _Command(9, "_fail"),  # read a track
    0x05: _Command(9, "_fail"),  # write
    0x06: _Command(9, "_fail"),  # read
    0x09: _Command(9, "_fail"),  # write deleted data
    0x0A: _Command(2, "_fail"),  # read an id
    0x0C: _Command(9, "_fail"),  # read deleted data
    0x0D: _Command(6, "_fail"),  # format
    0x16: _Command(9, "_fail"),  # verify
}


class FloppyController:
    """The chip."""

    wiring: ClassVar[dict[str, Any]] = {"ports": 0x3F0, "size": 6, "irq": 6}

    def __init__(self) -> None:
        self._wires: Wires | None = None
        self._dor = 0
        self._config = bytes(3)
        self._locked = False
        self._reset()

    def connect(self, wires: Wires) -> None:
        """It is in its place."""
        self._wires = wires

    def _reset(self) -> None:
        self._command = b""
        self._result = b""
        self._pending: list[int] = []  # ST0 of what was told by interrupts and not asked for
        if not self._locked:
            self._config = bytes(3)

    def read(self, offset: int, size: int) -> int:
        """Read a register."""
        if offset == _DOR:
            return self._dor
        if offset == _MSR:
            busy = _BUSY if self._command or self._result else 0
            return _REQUEST | busy | (_FROM_CHIP if self._result else 0) if self._dor & _RUN else 0
        if offset == _FIFO and self._result:
            value, self._result = self._result[0], self._result[1:]
            return value
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register."""
        value &= 0xFF
        if offset == _DOR:
            released = value & ~self._dor & _RUN
            self._dor = value
            if not value & _RUN:
                self._reset()
            elif released:
                self._tell(*(_READY_CHANGED | drive for drive in range(4)))
        elif offset == _MSR and value & 0x80:  # a reset that ends by itself
            self._reset()
            self._tell(*(_READY_CHANGED | drive for drive in range(4)))
        elif offset == _FIFO and self._dor & _RUN and not self._result:
            self._command += bytes([value])
            command = _COMMANDS.get(self._command[0] & 0x1F, _Command(1, "_unknown"))
            if len(self._command) >= command.size:
                words, self._command = self._command, b""
                self._result = getattr(self, command.answer)(words)

    def _tell(self, *states: int) -> None:
        self._pending = [*states]
        self._interrupt()

    def _interrupt(self) -> None:
        if self._wires and self._dor & _LINES:
            self._wires.raise_irq()

    # --- commands -------------------------------------------------------------------------------------

    def _nothing(self, words: bytes) -> bytes:
        return b""

    def _unknown(self, words: bytes) -> bytes:
        return bytes([_INVALID])

    def _version(self, words: bytes) -> bytes:
        return bytes([_VERSION])

    def _part(self, words: bytes) -> bytes:
        return bytes([_PART])

    def _configure(self, words: bytes) -> bytes:
        self._config = words[1:]
        return b""

    def _lock(self, words: bytes) -> bytes:
        self._locked = bool(words[0] & 0x80)
        return bytes([_LOCKED if self._locked else 0])

    def _registers(self, words: bytes) -> bytes:
        return bytes(7) + bytes([0x80 if self._locked else 0]) + self._config[1:]

    def _drive(self, words: bytes) -> bytes:
        return bytes([0x28 | words[1] & 7])

    def _sense(self, words: bytes) -> bytes:
        return bytes([self._pending.pop(0), 0]) if self._pending else bytes([_INVALID])

    def _seek(self, words: bytes) -> bytes:
        failed = _ABNORMAL | _NO_TRACK if words[0] & 0x1F == 0x07 else 0
        self._tell(_SEEK_END | failed | words[1] & 7)
        return b""

    def _fail(self, words: bytes) -> bytes:
        self._interrupt()
        return bytes([_ABNORMAL | words[1] & 7, _NO_MARK, 0, 0, 0, 1, 2])

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {
            "dor": self._dor,
            "locked": self._locked,
            "pending": list(self._pending),
            **{name: getattr(self, f"_{name}").hex() for name in ("config", "command", "result")},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._dor, self._locked, self._pending = state["dor"], state["locked"], list(state["pending"])
        self._config, self._command, self._result = (
            bytes.fromhex(state[name]) for name in ("config", "command", "result")
        )
