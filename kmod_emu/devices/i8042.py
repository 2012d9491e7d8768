"""The controller of a PC's keyboard and mouse: an i8042, with both plugged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.devices.ps2 import Ps2Keyboard, Ps2Mouse

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

DATA_PORT, COMMAND_PORT = 0x60, 0x64
KEYBOARD_IRQ, MOUSE_IRQ = 1, 12
_FULL, _SYSTEM, _UNLOCKED, _FROM_MOUSE = 1, 4, 0x10, 0x20  # status
_KEYBOARD_IRQ, _MOUSE_IRQ, _NO_KEYBOARD, _NO_MOUSE = 1, 2, 0x10, 0x20  # command byte
_READ, _WRITE, _OUTPUT, _AS_KEYBOARD, _AS_MOUSE, _TO_MOUSE = 0x20, 0x60, 0xD1, 0xD2, 0xD3, 0xD4
_ANSWERS = {0xA9: 0, 0xAA: 0x55, 0xAB: 0, 0xD0: 0x03}  # tests of the parts, and the output port
_SWITCHES = {0xA7: (_NO_MOUSE, 0), 0xA8: (0, _NO_MOUSE), 0xAD: (_NO_KEYBOARD, 0), 0xAE: (0, _NO_KEYBOARD)}
_FROM_FIRMWARE = 0x65  # the command byte: codes are translated, the keyboard interrupts, the mouse is off
_RELEASED, _LAST_KEY = 0x80, 88


class _Port:
    """One of its two ports."""

    def __init__(self, controller: I8042, command: bool) -> None:
        self._controller, self._command = controller, command

    def read(self, offset: int, size: int) -> int:
        return self._controller.status if self._command else self._controller.take()

    def write(self, offset: int, size: int, value: int) -> None:
        (self._controller.command if self._command else self._controller.write)(value & 0xFF)


class I8042:
    """The controller.

    Attributes:
        ports: What answers at its two ports, by address.
        keyboard: What is in one plug.
        mouse: What is in the other.
    """

    def __init__(self) -> None:
        self.ports = {DATA_PORT: _Port(self, command=False), COMMAND_PORT: _Port(self, command=True)}
        self.keyboard, self.mouse = Ps2Keyboard(), Ps2Mouse()
        self._wires: dict[bool, Wires] = {}  # whether of the mouse
        self._queue: list[tuple[int, bool]] = []  # bytes for the host, and whether they are the mouse's
        self._command_byte = _FROM_FIRMWARE
        self._waiting = 0  # the command whose argument is to come

    def connect(self, keyboard: Wires, mouse: Wires) -> None:
        """It is in its place."""
        self._wires = {False: keyboard, True: mouse}

    def press(self, code: int) -> None:
        """A key goes down; keys are known by their codes of set 1, which are Linux's, too.

        Raises:
            ValueError: There is no such key.
        """
        if not 0 < code <= _LAST_KEY:
            raise ValueError(f"keys have the codes 1 to {_LAST_KEY}, not {code}")
        self._key(code)

    def release(self, code: int) -> None:
        """A key goes up."""
        self._key(code | _RELEASED)

    def _key(self, code: int) -> None:
        if self.keyboard.enabled:
            self._give(bytes([code & 0xFF]), mouse=False)

    def move(self, dx: int = 0, dy: int = 0, wheel: int = 0, buttons: int = 0) -> None:
        """The mouse is moved; of the buttons that are down, left is 1, right 2, the middle one 4."""
        if self.mouse.enabled:
            self._give(self.mouse.packet(dx, dy, wheel, buttons), mouse=True)

    # --- what the host sees ---------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The status register."""
        waiting = (_FULL | (_FROM_MOUSE if self._queue[0][1] else 0)) if self._queue else 0
        return waiting | _UNLOCKED | self._command_byte & _SYSTEM

    def take(self) -> int:
        """Read the data register: the next byte is in it then."""
        value = self._queue.pop(0)[0] if self._queue else 0
        self._interrupt()
        return value

    def command(self, value: int) -> None:
        """Write the command register."""
        self._waiting = 0
        if value == _READ:
            self._give(bytes([self._command_byte]), mouse=False)
        elif value in _ANSWERS:
            self._give(bytes([_ANSWERS[value]]), mouse=False)
        elif value in _SWITCHES:
            on, off = _SWITCHES[value]
            self._command_byte = self._command_byte & ~off | on
        elif value in (_WRITE, _OUTPUT, _AS_KEYBOARD, _AS_MOUSE, _TO_MOUSE):
            self._waiting = value

    def write(self, value: int) -> None:
        """Write the data register: a command's argument, or a byte for the keyboard."""
        command, self._waiting = self._waiting, 0
        if command == _WRITE:
            self._command_byte = value
        elif command in (_AS_KEYBOARD, _AS_MOUSE):
            self._give(bytes([value]), mouse=command == _AS_MOUSE)
        elif command == _TO_MOUSE:
            self._command_byte &= ~_NO_MOUSE
            self._give(self.mouse.command(value), mouse=True)
        elif command != _OUTPUT:
            self._command_byte &= ~_NO_KEYBOARD
            self._give(self.keyboard.command(value), mouse=False)

    def _give(self, data: bytes, *, mouse: bool) -> None:
        empty = not self._queue
        self._queue += ((byte, mouse) for byte in data)
        if empty:
            self._interrupt()

    def _interrupt(self) -> None:
        """The data register has a byte: whoever it is from interrupts, if it may."""
        if self._queue:
            mouse = self._queue[0][1]
            if self._wires and self._command_byte & (_MOUSE_IRQ if mouse else _KEYBOARD_IRQ):
                self._wires[mouse].raise_irq()

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {
            "queue": [list(each) for each in self._queue],
            "command_byte": self._command_byte,
            "waiting": self._waiting,
            "keyboard": self.keyboard.save(),
            "mouse": self.mouse.save(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._queue = [(byte, mouse) for byte, mouse in state["queue"]]
        self._command_byte, self._waiting = state["command_byte"], state["waiting"]
        self.keyboard.load(state["keyboard"])
        self.mouse.load(state["mouse"])
