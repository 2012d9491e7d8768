"""What is outside of the processor and RAM: models of devices, at ports and at physical addresses.

The processor asks an `IoSpace` when guest code executes `in` and `out`, or touches a page that is not RAM.
While no device is there, nothing of this costs anything.
"""

from __future__ import annotations

from typing import Protocol


class Device(Protocol):
    """A model of a device's registers."""

    def read(self, offset: int, size: int) -> int:
        """The guest reads 1, 2 or 4 bytes at an offset from the device's first address."""

    def write(self, offset: int, size: int, value: int) -> None:
        """The guest writes 1, 2 or 4 bytes."""


class IoSpace:
    """Addresses of one kind and which device answers at each; where none does, all bits read as ones."""

    def __init__(self) -> None:
        self._devices: list[tuple[int, int, Device]] = []

    def attach(self, base: int, size: int, device: Device) -> None:
        """Put a device at `size` addresses from `base`.

        Raises:
            ValueError: Another one is there.
        """
        if size <= 0 or base < 0:
            raise ValueError(f"no addresses: {size} from {base:#x}")
        if any(start < base + size and base < end for start, end, _ in self._devices):
            raise ValueError(f"a device is at {base:#x} already")
        self._devices.append((base, base + size, device))

    def detach(self, device: Device) -> None:
        """Take a device away from all its addresses."""
        self._devices = [entry for entry in self._devices if entry[2] is not device]

    def read(self, address: int, size: int) -> int:
        """What the device at an address answers, cut to the size."""
        ones = (1 << 8 * size) - 1
        for start, end, device in self._devices:
            if start <= address < end:
                return device.read(address - start, size) & ones
        return ones

    def write(self, address: int, size: int, value: int) -> None:
        """Tell the device at an address."""
        for start, end, device in self._devices:
            if start <= address < end:
                device.write(address - start, size, value & (1 << 8 * size) - 1)
                return
