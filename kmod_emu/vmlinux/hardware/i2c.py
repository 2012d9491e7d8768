"""I2C: an adapter of the kernel's own for each bus, whose transfers Python does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.i2c_model import I2cModels
from kmod_emu.vmlinux.hardware.ask import ask, borrowed, made, make
from kmod_emu.vmlinux.hardware.calls import share

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

share("model_i2c_xfer model_i2c_functionality")
_ALGORITHM_SIZE, _FUNCTIONALITY = 64, 32  # struct i2c_algorithm: the first method is the transfer


class VmlinuxI2c(I2cModels):
    """Who answers at which address of which bus."""

    _kernel: VmlinuxKernel

    def __init__(self, kernel: VmlinuxKernel) -> None:
        super().__init__(kernel)
        self._adapters: dict[int, int] = {}  # struct i2c_adapter by number

    def make_bus(self, number: int) -> int:
        """The adapter of that number.

        Raises:
            KernelError: It cannot be made.
        """
        kernel, memory = self._kernel, self._kernel.memory
        if number in self._adapters:
            return self._adapters[number]
        adapter = made(kernel, "i2c_adapter", _ALGORITHM_SIZE)
        adapter.set_bytes("name", b"kmod-emu I2C bus")
        adapter.nr, adapter.algo = number, adapter.address + adapter.layout.size
        memory.write_u64(adapter.algo, kernel.methods["model_i2c_xfer"])
        memory.write_u64(adapter.algo + _FUNCTIONALITY, kernel.methods["model_i2c_functionality"])
        ask(kernel, "i2c_add_numbered_adapter", adapter.address, what=f"I2C bus {number}")
        self._adapters[number] = adapter.address
        return adapter.address

    def announce(self, bus: int, address: int, name: str, irq: int) -> int:
        """Make a client of a chip, as a board's description does: where it is.

        Raises:
            KernelError: It cannot be made.
        """
        kernel = self._kernel
        adapter = self.make_bus(bus)
        with borrowed(kernel, "i2c_board_info") as info:
            info.set_bytes("type", name.encode())
            info.addr, info.irq = address, irq
            what = f"client {name} at {address:#x} of I2C bus {bus}"
            return make(kernel, "i2c_new_client_device", adapter, info.address, what=what)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"adapters": list(self._adapters.items()), "chips": [list(place) for place in self._chips]}

    def load(self, state: Any) -> None:
        """Put saved state back: what has been plugged in since is gone."""
        self._adapters = dict(state["adapters"])
        there = {tuple(place) for place in state["chips"]}
        self._chips = {place: chip for place, chip in self._chips.items() if place in there}
