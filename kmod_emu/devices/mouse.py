"""A USB mouse with three buttons and a wheel, of the kind that firmware knows too."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any, ClassVar

from kmod_emu.devices import usb

if TYPE_CHECKING:
    from kmod_emu.devices.wires import Wires

_HID, _REPORT = 0x21, 0x22
_SET_IDLE, _SET_PROTOCOL, _GET_REPORT = 0x0A, 0x0B, 1
LEFT, RIGHT, MIDDLE = 1, 2, 4

# Usages and sizes of a report (HID 1.11, section 6.2.2): buttons, then three signed bytes.
_REPORT_DESCRIPTOR = bytes.fromhex(
    "0501 0902 a101 0901 a100"  # a mouse, as a pointer:
    "0509 1901 2903 1500 2501 9503 7501 8102"  # buttons 1 to 3, a bit each
    "9501 7505 8101"  # padding
    "0501 0930 0931 0938 1581 257f 7508 9503 8106"  # X, Y and wheel, relative
    "c0 c0"
)


class Mouse:
    r"""The mouse: what is done with it, the kernel's input layer sees.

    >>> from kmod_emu.devices.mouse import Mouse
    >>> mouse = Mouse()
    >>> mouse.move(3, -2)
    >>> mouse.transfer(0x81, b"", 4)
    b'\x00\x03\xfe\x00'
    >>> mouse.transfer(0x81, b"", 4)
    """

    wiring: ClassVar[dict[str, Any]] = {"usb": "1209:0001"}
    speed = usb.LOW
    strings = ("kmod-emu", "USB mouse")
    descriptors: ClassVar[dict[int, bytes]] = {_REPORT: _REPORT_DESCRIPTOR}
    configuration = usb.configuration(
        usb.interface(
            *(0, 3, 1, 2),  # HID, of boot, a mouse
            struct.pack("<BBHBBBH", 9, _HID, 0x0110, 0, 1, _REPORT, len(_REPORT_DESCRIPTOR)),
            usb.endpoint(usb.IN | 1, usb.INTERRUPT, 4, interval=10),
        )
    )

    def __init__(self) -> None:
        self._wires: Wires | None = None
        self._buttons = 0
        self._reports: list[bytes] = []

    def connect(self, wires: Wires) -> None:
        """It is in its port."""
        self._wires = wires

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        return {"buttons": self._buttons, "reports": [report.hex() for report in self._reports]}

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._buttons = state["buttons"]
        self._reports = [bytes.fromhex(report) for report in state["reports"]]

    def move(self, dx: int = 0, dy: int = 0, wheel: int = 0) -> None:
        """Move it, or turn the wheel; at most 127 at once."""
        self._reports.append(struct.pack("<Bbbb", self._buttons, dx, dy, wheel))
        if self._wires is not None:
            self._wires.raise_irq()

    def press(self, button: int = LEFT) -> None:
        """Press a button."""
        self._buttons |= button
        self.move()

    def release(self, button: int = LEFT) -> None:
        """Let go of one."""
        self._buttons &= ~button
        self.move()

    def transfer(self, endpoint: int, data: bytes, count: int) -> bytes | None:
        """The host asks for a report."""
        return self._reports.pop(0) if self._reports else None

    def control(
        self, request_type: int, request: int, value: int, index: int, data: bytes, count: int
    ) -> bytes:
        """Requests of HID devices: how often to report, and the last report."""
        if request in (_SET_IDLE, _SET_PROTOCOL):
            return b""
        if request == _GET_REPORT:
            return bytes([self._buttons, 0, 0, 0])
        raise OSError(errno.EPIPE, "a mouse does not know that")
