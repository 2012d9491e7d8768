"""A temperature sensor like National's LM75, on an I2C bus: four registers, most significant byte first."""

from __future__ import annotations

from typing import Any, ClassVar

_TEMPERATURE, _CONFIGURATION, _HYSTERESIS, _LIMIT = range(4)
_STEP = 0.5  # degrees


class Lm75:
    """The sensor.

    Args:
        celsius: How warm it is, in degrees; may be set at any time.

    Attributes:
        alarm: Whether its output says so: too warm from the limit on, until cooler than the hysteresis.
    """

    wiring: ClassVar[dict[str, Any]] = {"i2c": 0x48, "name": "lm75"}

    def __init__(self, celsius: float | str = 25.0) -> None:
        self._registers = {_CONFIGURATION: b"\0", _HYSTERESIS: _encoded(75), _LIMIT: _encoded(80)}
        self.alarm = False
        self.celsius = float(celsius)

    @property
    def celsius(self) -> float:
        """How warm it is."""
        return self._celsius

    @celsius.setter
    def celsius(self, degrees: float) -> None:
        if not -55 <= degrees <= 125:
            raise ValueError(f"an LM75 measures -55 to 125 degrees, not {degrees:g}")
        self._celsius = degrees
        self._compare()

    def _compare(self) -> None:
        limit = _HYSTERESIS if self.alarm else _LIMIT
        self.alarm = self._celsius >= _decoded(self._registers[limit])

    def save(self) -> dict[str, Any]:
        """State as plain data."""
        registers = [[register, data.hex()] for register, data in self._registers.items()]
        return {"celsius": self._celsius, "alarm": self.alarm, "registers": registers}

    def load(self, state: dict[str, Any]) -> None:
        """Put saved state back."""
        self._celsius, self.alarm = state["celsius"], state["alarm"]
        self._registers = {register: bytes.fromhex(data) for register, data in state["registers"]}

    def read(self, register: int, count: int) -> bytes:
        """Read a register."""
        data = _encoded(self._celsius) if register == _TEMPERATURE else self._registers.get(register, b"")
        return (data * count)[:count]

    def write(self, register: int, data: bytes) -> None:
        """Write a register; the temperature is not one."""
        if register in self._registers:
            old = self._registers[register]
            self._registers[register] = data[: len(old)] + old[len(data) :]
            self._compare()


def _encoded(degrees: float) -> bytes:
    """Half degrees in the upper nine bits."""
    return (int(degrees / _STEP // 1) << 7).to_bytes(2, "big", signed=True)


def _decoded(data: bytes) -> float:
    return (int.from_bytes(data, "big", signed=True) >> 7) * _STEP
