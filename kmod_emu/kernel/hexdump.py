"""Bytes in the log (lib/hexdump.c); what one line holds is guest code, hex_dump_to_buffer()."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.va_list import RegisterArguments
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_LINE = 32 * 3 + 2 + 32 + 1
_PREFIXES = {1: b"%p: ", 2: b"%.8x: "}  # DUMP_PREFIX_ADDRESS, DUMP_PREFIX_OFFSET


@export(
    "void print_hex_dump(const char *level, const char *prefix_str, int prefix_type, int rowsize, "
    "int groupsize, const void *buf, size_t len, bool ascii)"
)
async def print_hex_dump(
    kernel: KernelCore,
    level: bytes,
    prefix_str: bytes,
    prefix_type: int,
    rowsize: int,
    groupsize: int,
    buf: int,
    len_: int,
    ascii_: bool,
) -> None:
    """Print memory, a line for each `rowsize` bytes (lib/hexdump.c)."""
    rowsize = rowsize if rowsize in (16, 32) else 16
    to_buffer, line = kernel.symbols.address("hex_dump_to_buffer"), kernel.heap.kmalloc(_LINE)
    prefix = _PREFIXES.get(prefix_type, b"")
    for offset in range(0, len_, rowsize):
        size = min(rowsize, len_ - offset)
        await kernel.call_guest(to_buffer, buf + offset, size, rowsize, groupsize, line, _LINE, int(ascii_))
        place = RegisterArguments([buf + offset if prefix_type == 1 else offset], kernel.memory, 0)
        where = vsnprintf(prefix, place, kernel.format_context)
        kernel.printk.emit(level + prefix_str + where + kernel.memory.read_cstring(line) + b"\n")
    kernel.heap.kfree(line)
