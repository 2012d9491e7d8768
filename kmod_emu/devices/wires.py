"""What leads from a model of a device to its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Wires(Protocol):
    """What a model with a method `connect(wires)` is given when it is plugged in."""

    def raise_irq(self, vector: int = 0) -> None:
        """Raise the device's interrupt line, or send one of a PCI card's interrupt messages.

        Raises:
            ValueError: It has none.
        """

    def read_memory(self, paddr: int, size: int) -> bytes:
        """DMA: read the machine's RAM."""

    def write_memory(self, paddr: int, data: bytes) -> None:
        """DMA: write the machine's RAM."""

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have `action` called when so much virtual time has passed.

        A method of the model, or partial() of one with numbers, texts and bytes, is part of saved machines.
        """

    def now(self) -> float:
        """What the machine's clock on the wall says: seconds since 1970."""
