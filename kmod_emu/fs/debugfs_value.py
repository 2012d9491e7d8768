"""Debugfs files that show a variable of the module's (fs/debugfs/file.c)."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import BufferedOperations
from kmod_emu.kernel.activation import to_int
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore

_SET_BUFFER = 24  # struct simple_attr.set_buf
_BOOL_BUFFER = 3  # what kstrtobool_from_user looks at


_PARSERS = {False: "kstrtoull", True: "kstrtoll"}


class Value(NamedTuple):
    """How one kind of variable looks.

    Attributes:
        c_type: The parameter that points to it.
        size: Bytes.
        form: How it prints; "" for what is no number.
        signed: Whether it may be negative.
    """

    c_type: str
    size: int
    form: str
    signed: bool = False


VALUES = {
    "u8": Value("u8 *value", 1, "%d\n"),
    "u16": Value("u16 *value", 2, "%d\n"),
    "u32": Value("u32 *value", 4, "%d\n"),
    "u64": Value("u64 *value", 8, "%d\n"),
    "ulong": Value("unsigned long *value", 8, "%d\n"),
    "size_t": Value("size_t *value", 8, "%d\n"),
    "x8": Value("u8 *value", 1, "0x%02x\n"),
    "x16": Value("u16 *value", 2, "0x%04x\n"),
    "x32": Value("u32 *value", 4, "0x%08x\n"),
    "x64": Value("u64 *value", 8, "0x%016x\n"),
    "atomic_t": Value("atomic_t *value", 4, "%d\n", signed=True),
    "bool": Value("bool *value", 1, ""),
    "str": Value("char **value", 8, ""),
    "blob": Value("struct debugfs_blob_wrapper *blob", 16, ""),
    "u32_array": Value("struct debugfs_u32_array *array", 16, ""),
    "regset32": Value("struct debugfs_regset32 *regset", 32, ""),
}
_READ_ONLY = ("str", "blob", "u32_array", "regset32")


def registers(kernel: KernelCore, regs: int, nregs: int, base: int) -> Iterator[bytes]:
    """A line for each of a table of device registers."""
    memory, size = kernel.memory, kernel.profile.struct("debugfs_reg32").size
    for place in range(regs, regs + nregs * size, size):
        name = memory.read_cstring(memory.read_u64(place))
        value = kernel.io_mappings.access(base + memory.read_u64(place + 8), 4)
        yield b"%s = 0x%08x\n" % (name, value)


class ValueOperations(BufferedOperations):
    """Reads take the text at their start; writes set the variable."""

    def can(self, file: File, method: str) -> bool:
        """Whether the mode lets it be read, or written."""
        mode, kind = file.inode.mode, self._entry(file).kind
        if method == "write":
            return bool(mode & 0o222) and kind not in _READ_ONLY
        if method == "read":
            return bool(mode & 0o444)
        return super().can(file, method)

    @staticmethod
    def _entry(file: File) -> Any:
        return file.inode.node  # type: ignore[attr-defined]

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """A piece of the text."""
        if pos == 0 or file.private is None:
            file.private = self._text(self._entry(file))
        assert isinstance(file.private, bytes)
        return file.private[pos : pos + count]

    def _text(self, entry: Any) -> bytes:
        memory, place, value = self.kernel.memory, entry.data, VALUES[entry.kind]
        if entry.removed:
            raise KernelError(errno.EIO, "the file was removed from debugfs")
        if entry.kind == "blob":
            return memory.read(memory.read_u64(place), memory.read_u64(place + 8))
        if entry.kind == "str":
            return memory.read_cstring(memory.read_u64(place)) + b"\n"
        if entry.kind == "regset32":
            view = self.kernel.view("debugfs_regset32", place)
            return b"".join(registers(self.kernel, view.regs, view.nregs, view.base))
        if entry.kind == "u32_array":
            view = self.kernel.view("debugfs_u32_array", place)
            numbers = struct.unpack(f"<{view.n_elements}I", memory.read(view.array, 4 * view.n_elements))
            return (" ".join(map(str, numbers)) + "\n").encode()[: max(11 * len(numbers) - 1, 0)]
        number = int.from_bytes(memory.read(place, value.size), "little", signed=value.signed)
        if entry.kind == "bool":
            return b"Y\n" if number else b"N\n"
        return (value.form % number).encode()

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """Set the variable, cut to its size."""
        entry = self._entry(file)
        if entry.removed:
            raise KernelError(errno.EIO, "the file was removed from debugfs")
        value = VALUES[entry.kind]
        text = data[: _SET_BUFFER - 1].partition(b"\0")[0]
        if entry.kind == "bool":
            with suppress(KernelError):  # what is no bool changes nothing, and is no error
                number = await self._parse("kstrtobool", text[:_BOOL_BUFFER])
                self.kernel.memory.write(entry.data, bytes((number,)))
            return len(data)
        number = await self._parse(_PARSERS[value.signed], text)
        mask = (1 << 8 * value.size) - 1
        self.kernel.memory.write(entry.data, (number & mask).to_bytes(value.size, "little"))
        return len(data)

    async def _parse(self, function: str, text: bytes) -> int:
        """A number by the kernel's own function."""
        kernel = self.kernel
        place = kernel.heap.kmalloc(8 + len(text) + 1)
        kernel.memory.write(place + 8, text + b"\0")
        arguments = (place + 8, place) if function == "kstrtobool" else (place + 8, 0, place)
        error = to_int(await kernel.call_guest(kernel.symbol(function), *arguments))
        number = kernel.memory.read_u8(place) if function == "kstrtobool" else kernel.memory.read_u64(place)
        kernel.heap.kfree(place)
        if error:
            raise KernelError(-error, f"{text!r} is no such number")
        return number
