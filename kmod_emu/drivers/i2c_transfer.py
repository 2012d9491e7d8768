"""Messages on an I2C bus, and SMBus commands made of them (drivers/i2c/i2c-core-base.c, i2c-core-smbus.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.dev_printk import prefix
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

READ, RECV_LEN, TEN_BIT, DMA_SAFE = 0x0001, 0x0400, 0x0010, 0x0200  # I2C_M_*
MSG_SIZE = 16  # struct i2c_msg: addr, flags, len, buf
_BLOCK_MAX = 32
QUICK, BYTE, BYTE_DATA, WORD_DATA, PROC_CALL, BLOCK_DATA, _, BLOCK_PROC_CALL, I2C_BLOCK_DATA = range(9)
_XFER, _SMBUS_XFER, _FUNCTIONALITY = 0, 16, 32  # offsets in struct i2c_algorithm
_FUNC_SMBUS_QUICK, _FUNC_SMBUS_READ_BYTE = 0x10000, 0x20000


async def transfer(kernel: KernelCore, adapter: StructView, msgs: int, num: int) -> int:
    """__i2c_transfer(): how many messages went, or a negative errno."""
    xfer = kernel.memory.read_u64(adapter.algo + _XFER)
    if not xfer:
        return -errno.EOPNOTSUPP
    if not msgs or num < 1:
        kernel.warnings.warn("drivers/i2c/i2c-core-base.c", 2137, "", "__i2c_transfer+0x4a1/0x750")
        return -errno.EINVAL
    result = 0
    for _ in range(adapter.retries + 1):
        result = await kernel.call_guest_int(xfer, adapter.address, msgs, num)
        if result != -errno.EAGAIN:
            break
    return result


@export("int i2c_transfer(struct i2c_adapter *adap, struct i2c_msg *msgs, int num)")
async def i2c_transfer(kernel: KernelCore, adap: StructView, msgs: int, num: int) -> int:
    """Messages, with a repeated start between them."""
    return await transfer(kernel, adap, msgs, num)


@export("int __i2c_transfer(struct i2c_adapter *adap, struct i2c_msg *msgs, int num)")
async def __i2c_transfer(kernel: KernelCore, adap: StructView, msgs: int, num: int) -> int:
    """Likewise, for who has locked the bus."""
    return await transfer(kernel, adap, msgs, num)


class _Messages:
    """An array of `struct i2c_msg` on the heap, with its buffers."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel, self._places = kernel, [kernel.heap.kmalloc(4 * MSG_SIZE)]
        self.address, self.count = self._places[0], 0

    def add(self, addr: int, flags: int, data: bytes, room: int = 0) -> int:
        """One message: the address of its buffer."""
        memory, place = self._kernel.memory, self.address + self.count * MSG_SIZE
        buffer = self._kernel.heap.kmalloc(max(len(data), room, 1))
        memory.write(buffer, data)
        memory.write_u16(place, addr)
        memory.write_u16(place + 2, flags)
        memory.write_u16(place + 4, len(data))
        memory.write_u64(place + 8, buffer)
        self._places.append(buffer)
        self.count += 1
        return buffer

    def free(self) -> None:
        """Give all back."""
        for place in self._places:
            self._kernel.heap.kfree(place)


@export("int i2c_transfer_buffer_flags(const struct i2c_client *client, char *buf, int count, u16 flags)")
async def i2c_transfer_buffer_flags(
    kernel: KernelCore, client: StructView, buf: int, count: int, flags: int
) -> int:
    """One message: i2c_master_send(), i2c_master_recv(); how many bytes."""
    message = kernel.heap.kmalloc(MSG_SIZE)
    kernel.memory.write_u16(message, client.addr)
    kernel.memory.write_u16(message + 2, flags | client.flags & TEN_BIT)
    kernel.memory.write_u16(message + 4, count & 0xFFFF)
    kernel.memory.write_u64(message + 8, buf)
    adapter = kernel.view("i2c_adapter", client.adapter)
    result = await transfer(kernel, adapter, message, 1)
    kernel.heap.kfree(message)
    return count if result == 1 else result


# --- SMBus ----------------------------------------------------------------------------------------------


async def smbus_xfer(
    kernel: KernelCore,
    adapter: StructView,
    addr: int,
    flags: int,
    read: int,
    command: int,
    kind: int,
    data: int,
) -> int:
    """__i2c_smbus_xfer(): by the adapter's own method, else by messages; `data` is the guest's union."""
    flags &= TEN_BIT
    method = kernel.memory.read_u64(adapter.algo + _SMBUS_XFER)
    if method:
        arguments = (adapter.address, addr, flags, read, command, kind, data)
        result = -errno.EAGAIN
        for _ in range(adapter.retries + 1):
            result = await kernel.call_guest_int(method, *arguments)
            if result != -errno.EAGAIN:
                break
        if result != -errno.EOPNOTSUPP or not kernel.memory.read_u64(adapter.algo + _XFER):
            return result
    return await _emulated(kernel, adapter, addr, flags, read, command, kind, data)


async def _emulated(
    kernel: KernelCore,
    adapter: StructView,
    addr: int,
    flags: int,
    read: int,
    command: int,
    kind: int,
    data: int,
) -> int:
    """i2c_smbus_xfer_emulated()."""
    memory, head = kernel.memory, bytes([command])
    given = memory.read(data, _BLOCK_MAX + 2) if data else bytes(_BLOCK_MAX + 2)
    if (
        kind in (BLOCK_DATA, BLOCK_PROC_CALL, I2C_BLOCK_DATA)
        and given[0] > _BLOCK_MAX
        and not (kind == BLOCK_DATA and read)
    ):
        what = "block read" if read else "block write"
        text = f"Invalid {what} size {given[0]}"
        kernel.printk.emit(f"{prefix(kernel, adapter.addressof('dev'))}{text}\n", 3)
        return -errno.EINVAL
    sent, wanted = _plan(kind, read, head, given)
    if sent is None and wanted is None:
        text = f"Unsupported transaction {kind}"
        kernel.printk.emit(f"{prefix(kernel, adapter.addressof('dev'))}{text}\n", 3)
        return -errno.EOPNOTSUPP
    messages, answer = _Messages(kernel), 0
    if sent is not None:
        messages.add(addr, flags, sent)
    if wanted is not None:
        variable = RECV_LEN if kind in (BLOCK_DATA, BLOCK_PROC_CALL) else 0
        answer = messages.add(addr, flags | READ | variable, bytes(wanted), _BLOCK_MAX + 2)
    result = await transfer(kernel, adapter, messages.address, messages.count)
    status = result if result < 0 else 0 if result == messages.count else -errno.EIO
    if not status and wanted and data:
        if kind in (BLOCK_DATA, BLOCK_PROC_CALL):
            memory.write(data, memory.read(answer, min(memory.read_u8(answer), _BLOCK_MAX) + 1))
        else:
            memory.write(data + (kind == I2C_BLOCK_DATA), memory.read(answer, wanted))
    messages.free()
    return status


def _plan(kind: int, read: int, head: bytes, given: bytes) -> tuple[bytes | None, int | None]:
    """What is sent first, and how many bytes are read then; None for no such message."""
    size = given[0]
    if kind == QUICK:
        return (None, 0) if read else (b"", None)
    if kind == BYTE:
        return (None, 1) if read else (head, None)
    if kind == PROC_CALL:
        return head + given[:2], 2
    if kind == BLOCK_PROC_CALL:
        return head + given[: size + 1], 1
    if read:
        wanted = {BYTE_DATA: 1, WORD_DATA: 2, BLOCK_DATA: 1, I2C_BLOCK_DATA: size}.get(kind)
        return (head, wanted) if wanted is not None else (None, None)
    written = {
        BYTE_DATA: given[:1],
        WORD_DATA: given[:2],
        BLOCK_DATA: given[: size + 1],
        I2C_BLOCK_DATA: given[1 : size + 1],
    }.get(kind)
    return (head + written, None) if written is not None else (None, None)


async def answers(kernel: KernelCore, adapter: StructView, addr: int) -> bool:
    """i2c_default_probe(): whether anybody acknowledges an address; memory chips are only read."""
    place = kernel.heap.kmalloc(_BLOCK_MAX + 2)
    functionality = kernel.memory.read_u64(adapter.algo + _FUNCTIONALITY)
    can = await kernel.call_guest(functionality, adapter.address) if functionality else 0
    careful = addr & ~0x07 == 0x30 or addr & ~0x0F == 0x50 or not can & _FUNC_SMBUS_QUICK
    if careful and can & _FUNC_SMBUS_READ_BYTE:
        result = await smbus_xfer(kernel, adapter, addr, 0, 1, 0, BYTE, place)
    elif can & _FUNC_SMBUS_QUICK:
        result = await smbus_xfer(kernel, adapter, addr, 0, 0, 0, QUICK, 0)
    else:
        result = -errno.EOPNOTSUPP
    kernel.heap.kfree(place)
    return result >= 0


def _define_smbus_xfer() -> None:
    for name in ("i2c_smbus_xfer", "__i2c_smbus_xfer"):

        @export(
            f"s32 {name}(struct i2c_adapter *adapter, u16 addr, unsigned short flags, char read_write,"
            " u8 command, int protocol, union i2c_smbus_data *data)"
        )
        async def xfer(
            kernel: KernelCore,
            adapter: StructView,
            addr: int,
            flags: int,
            read_write: int,
            command: int,
            protocol: int,
            data: int,
        ) -> int:
            """One SMBus command."""
            return await smbus_xfer(kernel, adapter, addr, flags, read_write, command, protocol, data)


_define_smbus_xfer()


async def _command(
    kernel: KernelCore, client: StructView, kind: int, command: int, data: bytes | None, room: int
) -> tuple[int, bytes]:
    """A command of a client's: its status, and the data afterwards. `data` of None reads."""
    place = kernel.heap.kmalloc(_BLOCK_MAX + 2)
    kernel.memory.write(place, data if data is not None else bytes([room]))
    adapter = kernel.view("i2c_adapter", client.adapter)
    read = int(data is None)
    status = await smbus_xfer(kernel, adapter, client.addr, client.flags, read, command, kind, place)
    after = kernel.memory.read(place, _BLOCK_MAX + 2)
    kernel.heap.kfree(place)
    return status, after


def _define_numbers() -> None:
    """Commands whose data is a number."""

    def define(name: str, kind: int, size: int) -> None:
        @export(f"s32 i2c_smbus_read_{name}(const struct i2c_client *client, u8 command)")
        async def read(kernel: KernelCore, client: StructView, command: int) -> int:
            """Read a register; a negative errno if nobody answers."""
            status, after = await _command(kernel, client, kind, command, None, 0)
            return status if status < 0 else int.from_bytes(after[:size], "little")

        @export(f"s32 i2c_smbus_write_{name}(const struct i2c_client *client, u8 command, u{8 * size} value)")
        async def write(kernel: KernelCore, client: StructView, command: int, value: int) -> int:
            """Write a register; 0 or a negative errno."""
            data = value.to_bytes(size, "little")
            return (await _command(kernel, client, kind, command, data, 0))[0]

    define("byte_data", BYTE_DATA, 1)
    define("word_data", WORD_DATA, 2)


_define_numbers()


@export("s32 i2c_smbus_read_byte(const struct i2c_client *client)")
async def i2c_smbus_read_byte(kernel: KernelCore, client: StructView) -> int:
    """One byte without a command."""
    status, after = await _command(kernel, client, BYTE, 0, None, 0)
    return status if status < 0 else after[0]


@export("s32 i2c_smbus_write_byte(const struct i2c_client *client, u8 value)")
async def i2c_smbus_write_byte(kernel: KernelCore, client: StructView, value: int) -> int:
    """A command without data."""
    return (await _command(kernel, client, BYTE, value, b"\0", 0))[0]


@export("s32 i2c_smbus_read_block_data(const struct i2c_client *client, u8 command, u8 *values)")
async def i2c_smbus_read_block_data(kernel: KernelCore, client: StructView, command: int, values: int) -> int:
    """As many bytes as the chip says."""
    status, after = await _command(kernel, client, BLOCK_DATA, command, None, 0)
    return status if status < 0 else _store(kernel, values, after)


def _store(kernel: KernelCore, values: int, block: bytes) -> int:
    kernel.memory.write(values, block[1 : block[0] + 1])
    return block[0]


def _define_block_writes() -> None:
    def define(name: str, kind: int) -> None:
        @export(f"s32 {name}(const struct i2c_client *client, u8 command, u8 length, const u8 *values)")
        async def write(
            kernel: KernelCore, client: StructView, command: int, length: int, values: int
        ) -> int:
            """At most 32 bytes."""
            length = min(length, _BLOCK_MAX)
            data = bytes([length]) + kernel.memory.read(values, length)
            return (await _command(kernel, client, kind, command, data, 0))[0]

    define("i2c_smbus_write_block_data", BLOCK_DATA)
    define("i2c_smbus_write_i2c_block_data", I2C_BLOCK_DATA)


_define_block_writes()


def _define_block_reads() -> None:
    for name in ("i2c_smbus_read_i2c_block_data", "i2c_smbus_read_i2c_block_data_or_emulated"):

        @export(f"s32 {name}(const struct i2c_client *client, u8 command, u8 length, u8 *values)")
        async def read(kernel: KernelCore, client: StructView, command: int, length: int, values: int) -> int:
            """As many bytes as are wanted, at most 32."""
            length = min(length, _BLOCK_MAX)
            status, after = await _command(kernel, client, I2C_BLOCK_DATA, command, None, length)
            return status if status < 0 else _store(kernel, values, after)


_define_block_reads()
