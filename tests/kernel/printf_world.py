"""A small kernel for the printf tests: one megabyte of memory, a few symbols, the struct layouts of 6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.vsprintf import FormatWarning, KptrView, NotSupported, Symbol, vsnprintf
from kmod_emu.machine.memory import READ, WRITE, Memory

if TYPE_CHECKING:
    from collections.abc import Iterable

BASE = 0xFFFF888000000000
SIZE = 1 << 20
END = BASE + SIZE  # the first address that faults

MEMBERS = {
    ("dentry", "d_parent"): 24,
    ("dentry", "d_name"): 32,
    ("file", "f_path"): 16,
    ("path", "dentry"): 8,
    ("resource", "start"): 0,
    ("resource", "end"): 8,
    ("resource", "flags"): 24,
    ("block_device", "bd_disk"): 40,
    ("block_device", "bd_partno"): 32,
    ("gendisk", "disk_name"): 12,
    ("clk", "core"): 0,
    ("clk_core", "name"): 0,
}

SYMBOLS = [
    (0xFFFFFFFF81000100, Symbol("versatile_init", 0, 0x110)),
    (0xFFFFFFFFC0001000, Symbol("hello_init", 0, 0x20, "hello")),
]


class World:
    """A printf Context that owns its memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.memory.add_arena("ram", BASE, SIZE)
        self.memory.protect(BASE, SIZE, READ | WRITE)
        self.next = BASE
        self.view = KptrView.HASHED
        self.seeded = True
        self.nested = 0
        self.warnings: list[FormatWarning] = []

    def symbolize(self, address: int) -> Symbol | None:
        for start, symbol in SYMBOLS:
            if start <= address < start + symbol.size:
                return symbol._replace(offset=address - start)
        return None

    def hash_pointer(self, value: int) -> int | None:
        return (value ^ 0x12345678) & 0xFFFFFFFF if self.seeded else None

    def kptr_visible(self) -> KptrView:
        return self.view

    def member(self, struct: str, name: str) -> int:
        try:
            return MEMBERS[struct, name]
        except KeyError:
            raise NotSupported(f"no layout for struct {struct}") from None

    def put(self, data: bytes) -> int:
        """Lay bytes out in memory; their address."""
        address = self.next
        self.memory.write(address, data)
        self.next += (len(data) + 15) & ~7
        return address

    def text(self, text: bytes) -> int:
        """Lay out text with its NUL."""
        return self.put(text + b"\0")

    def format(self, format: bytes, *arguments: int) -> bytes:
        """Format these values, all of which must be used up."""
        values = Values(arguments)
        result = vsnprintf(format, values, self, self.warnings)
        assert not values.left, "arguments were left over"
        return result


class Values:
    """Arguments from a list."""

    def __init__(self, values: Iterable[int]) -> None:
        self.left = [value & (1 << 64) - 1 for value in values]

    def next(self) -> int:
        return self.left.pop(0)
