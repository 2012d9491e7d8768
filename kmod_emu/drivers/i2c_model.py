"""I2C buses whose chips are Python objects: what `@kernel.device(i2c=0x48)` puts there."""

from __future__ import annotations

from struct import unpack
from typing import TYPE_CHECKING, Any

from kmod_emu.drivers.i2c import I2c
from kmod_emu.drivers.i2c_transfer import MSG_SIZE, READ, RECV_LEN
from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

# I2C messages, all SMBus commands made of them, and reading blocks of a length that the chip tells.
_FUNCTIONALITY = 0x1 | 0x0EFF0008 | 0x0100_0000


class I2cModels:
    """Who answers at which address of which bus."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._chips: dict[tuple[int, int], _Chip] = {}

    def attach(self, bus: int, address: int, model: Any) -> None:
        """Put a model on a bus, which is made if there is none; ValueError if the place is taken."""
        if (bus, address) in self._chips:
            raise ValueError(f"there is a device at {address:#x} of I2C bus {bus} already")
        self.make_bus(bus)
        self.seat(bus, address, model)

    def seat(self, bus: int, address: int, model: Any) -> None:
        """Let a model answer on a bus that is there."""
        self._chips[bus, address] = _Chip(model)

    def remove(self, bus: int, address: int) -> None:
        """Nobody answers there any more."""
        del self._chips[bus, address]

    def make_bus(self, number: int) -> int:
        """The adapter of that number."""
        kernel = self._kernel
        address = kernel[I2c].adapters.get(number)
        if address is not None:
            return address
        adapter = kernel.view("i2c_adapter", kernel.heap.kmalloc(kernel.profile.struct("i2c_adapter").size))
        adapter.set_bytes("name", b"kmod-emu I2C bus")
        adapter.algo = kernel.symbol("model_i2c_algorithm")
        kernel.run(kernel[I2c].add_adapter(adapter, number))
        return adapter.address

    def announce(self, bus: int, address: int, name: str, irq: int) -> int:
        """Make a client of a chip, as a board's description does: where it is.

        Raises:
            KernelError: It cannot be made.
        """
        kernel = self._kernel
        info = kernel.view(
            "i2c_board_info", kernel.heap.kmalloc(kernel.profile.struct("i2c_board_info").size)
        )
        info.set_bytes("type", name.encode())
        info.addr, info.irq = address, irq
        adapter = kernel.view("i2c_adapter", self.make_bus(bus))
        client = kernel.run(kernel[I2c].new_client(adapter, info))
        kernel.heap.kfree(info.address)
        if client < 0:
            raise KernelError(-client, f"no client {name} can be made at {address:#x} of I2C bus {bus}")
        return int(client)

    def chip(self, bus: int, address: int) -> _Chip:
        """Who answers there.

        Raises:
            KernelError: ENXIO, nobody acknowledges the address.
        """
        if (bus, address) not in self._chips:
            raise KernelError(errno.ENXIO, f"nobody answers at {address:#x} of I2C bus {bus}")
        return self._chips[bus, address]

    def save(self) -> None:
        """Buses are the kernel's, models the board's."""

    def load(self, state: None) -> None:
        """Nothing."""


class _Chip:
    """A model on the wire.

    The first byte written names a register; the others go there, and reads are from there. A model with
    `transfer(data, count)` gets each message as it is: what was written, or how much is to be read.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._register = model, 0

    def write(self, data: bytes) -> None:
        if hasattr(self._model, "transfer"):
            self._model.transfer(data, 0)
        elif data:
            self._register = data[0]
            if data[1:]:
                self._model.write(self._register, data[1:])

    def read(self, count: int, *, tells_length: bool) -> bytes:
        if not count:
            return b""
        wanted = 32 if tells_length else count
        if hasattr(self._model, "transfer"):
            answer = self._model.transfer(b"", wanted)
        else:
            answer = self._model.read(self._register, wanted)
        data = answer.to_bytes(count, "little") if isinstance(answer, int) else bytes(answer)
        if tells_length:
            return bytes([len(data[:32])]) + data[:32]
        return data[:count].ljust(count, b"\xff")  # who sends nothing leaves the line high


@export_data("const struct i2c_algorithm model_i2c_algorithm", 64)
def model_i2c_algorithm(kernel: KernelCore, address: int) -> None:
    """The methods of such a bus."""
    kernel.memory.write_u64(address, kernel.symbol("model_i2c_xfer"))
    kernel.memory.write_u64(address + 32, kernel.symbol("model_i2c_functionality"))


@export("u32 model_i2c_functionality(struct i2c_adapter *adap)")
def model_i2c_functionality(kernel: KernelCore, adap: int) -> int:
    """What it can do."""
    return _FUNCTIONALITY


@export("int model_i2c_xfer(struct i2c_adapter *adap, struct i2c_msg *msgs, int num)")
def model_i2c_xfer(kernel: KernelCore, adap: StructView, msgs: int, num: int) -> int:
    """Messages, one after another; an OSError of the model is the bus's error."""
    for index in range(num):
        place = msgs + index * MSG_SIZE
        address, flags, size, buffer = unpack("<HHHxxQ", kernel.memory.read(place, MSG_SIZE))
        chip = kernel[I2cModels].chip(adap.nr, address)
        try:
            if flags & READ:
                data = chip.read(size, tells_length=bool(flags & RECV_LEN))
                kernel.memory.write(buffer, data)
                kernel.memory.write_u16(place + 4, len(data))
            else:
                chip.write(kernel.memory.read(buffer, size))
        except OSError as error:
            return -(error.errno or errno.EIO)
    return num
