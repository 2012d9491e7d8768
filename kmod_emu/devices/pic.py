"""Which interrupt lines of a PC are level-triggered: the ELCR of EISA, which PCI chipsets have kept."""

from __future__ import annotations

from typing import Any


class Triggers:
    """A bit for each line, as firmware has set it: ACPI's and those that PCI cards share are levels."""

    first, size = 0x4D0, 2

    def __init__(self) -> None:
        self._levels = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11

    def read(self, offset: int, size: int) -> int:
        """Read one of the registers, of eight lines each."""
        return self._levels >> 8 * offset

    def write(self, offset: int, size: int, value: int) -> None:
        """Write one."""
        shift = 8 * offset
        self._levels = self._levels & ~(0xFF << shift) | (value & 0xFF) << shift

    def save(self) -> Any:
        """State as plain data."""
        return self._levels

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._levels = state
