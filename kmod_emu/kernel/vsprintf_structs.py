"""The ``%p`` extensions that print kernel structures: dentries, files, disks, resources, times, clocks.

Member offsets come from the running release (Context.member), so the same code serves all of them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel.printf_spec import (
    SMALL,
    SPECIAL,
    ZEROPAD,
    NotSupported,
    Spec,
    check_pointer_msg,
    checked,
    error_string,
    number,
    read_string,
    string,
    string_nocheck,
    widen_string,
)

if TYPE_CHECKING:
    from kmod_emu.kernel.printf_spec import Context

__all__ = [
    "bdev_name",
    "clock",
    "dentry_name",
    "device_node_string",
    "file_dentry_name",
    "fwnode_string",
    "resource_string",
    "time_and_date",
]

_QSTR_NAME = 8  # struct qstr { u64 hash_len; const char *name; }, the same in every release

# include/linux/ioport.h
_IORESOURCE_IO = 0x100
_IORESOURCE_MEM = 0x200
_IORESOURCE_IRQ = 0x400
_IORESOURCE_DMA = 0x800
_IORESOURCE_BUS = 0x1000
_IORESOURCE_UNSET = 0x20000000
_RESOURCE_PROPERTIES = (
    (0x00100000, b" 64bit"),
    (0x00002000, b" pref"),
    (0x00200000, b" window"),
    (0x10000000, b" disabled"),
)
_IO_SPEC = Spec(SPECIAL | SMALL | ZEROPAD, width=6, base=16)
_MEM_SPEC = Spec(SPECIAL | SMALL | ZEROPAD, width=10, base=16)
_BUS_SPEC = Spec(SMALL | ZEROPAD, width=2, base=16)
_DEC_SPEC = Spec()
_RESOURCE_KINDS = (
    (_IORESOURCE_IO, b"io  ", _IO_SPEC),
    (_IORESOURCE_MEM, b"mem ", _MEM_SPEC),
    (_IORESOURCE_IRQ, b"irq ", _DEC_SPEC),
    (_IORESOURCE_DMA, b"dma ", _DEC_SPEC),
    (_IORESOURCE_BUS, b"bus ", _BUS_SPEC),
)

_SECONDS_A_DAY = 86400
_DAYS_BEFORE_1970 = 719468  # from 0000-03-01, the start of a 400-year cycle of years that end in February
_DAYS_A_CYCLE = 146097


# --- names --------------------------------------------------------------------------------------------


def dentry_name(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pd: the last component of a dentry's path, or the last 2 to 4; "/" in front when the root is met."""
    memory = context.memory
    parent_offset, name_offset = context.member("dentry", "d_parent"), context.member("dentry", "d_name")
    option = suffix[1:2]
    names: list[int | None] = []  # innermost first; None: the root, whose name is not printed
    for depth in range(int(option) if option in (b"2", b"3", b"4") else 1):
        message = check_pointer_msg(pointer)
        if message:
            return error_string(message, spec)
        parent = memory.read_u64(pointer + parent_offset)
        name = memory.read_u64(pointer + name_offset + _QSTR_NAME)
        names.append(None if parent == pointer and depth else name)
        if parent == pointer:
            break
        pointer = parent
    text = b""
    for index, part in enumerate(reversed(names)):
        room = -1 if spec.precision < 0 else spec.precision - len(text) - bool(index)
        if spec.precision >= 0 and room < 0:
            break
        text += b"/" if index else b""
        text += read_string(memory, part, room) if part is not None else b""
    return widen_string(text, spec)


@checked
def file_dentry_name(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pD: as %pd, for the dentry of a struct file."""
    offset = context.member("file", "f_path") + context.member("path", "dentry")
    return dentry_name(context.memory.read_u64(pointer + offset), suffix, spec, context)


@checked
def bdev_name(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pg: disk name and partition number ("sda1", "nvme0n1p1"); each takes the width."""
    memory = context.memory
    partition_offset = context.member("block_device", "bd_partno")
    disk = memory.read_u64(pointer + context.member("block_device", "bd_disk"))
    disk_name = disk + context.member("gendisk", "disk_name")
    text = string(disk_name, spec, context)
    partition = memory.read_u8(pointer + partition_offset)
    if partition:
        if read_string(memory, disk_name)[-1:] in tuple(b"%d" % digit for digit in range(10)):
            text += b"p"
        text += number(partition, spec)
    return text


@checked
def clock(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pC: the name of a struct clk (clk->core->name)."""
    core = context.memory.read_u64(pointer + context.member("clk", "core"))
    return string(context.memory.read_u64(core + context.member("clk_core", "name")), spec, context)


def device_node_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pOF: there is no device tree in a kernel for PCs."""
    return error_string(b"(%pOF?)" if suffix[1:2] == b"F" else b"(%pO?)", spec)


def fwnode_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pfw: a firmware node, whose name only its own operations can tell."""
    if suffix[1:2] != b"w":
        return error_string(b"(%pf?)", spec)
    message = check_pointer_msg(pointer)
    if message:
        return error_string(message, spec)
    raise NotSupported(
        "%pfw asks the firmware node's own functions for its name, and formatting cannot call them"
    )


# --- resources ----------------------------------------------------------------------------------------


@checked
def resource_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pR: a struct resource with its properties in words; %pr: with its flags as a number."""
    memory = context.memory
    start, end, flags = (
        memory.read_u64(pointer + context.member("resource", name)) for name in ("start", "end", "flags")
    )
    decode = suffix[:1] == b"R"
    kind = next((kind for kind in _RESOURCE_KINDS if flags & kind[0]), None)
    if kind is None:
        kind = (0, b"??? ", _MEM_SPEC)
        decode = False
    _, label, number_spec = kind
    if decode and flags & _IORESOURCE_UNSET:
        text = label + b"size " + number(end - start + 1, number_spec)
    else:
        text = label + number(start, number_spec)
        if start != end:
            text += b"-" + number(end, number_spec)
    if decode:
        text += b"".join(word for bit, word in _RESOURCE_PROPERTIES if flags & bit)
    else:
        text += b" flags %#x" % flags
    text = b"[" + text + b"]"
    return string_nocheck(text, spec)


# --- time ---------------------------------------------------------------------------------------------


def time_and_date(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%ptR (struct rtc_time) and %ptT (time64_t): d date only, t time only, r raw numbers, s a space for T.

    The width has no effect, and %ptT reads its pointer unchecked: NULL is a fault.
    """
    kind = suffix[1:2]
    if kind == b"R":
        message = check_pointer_msg(pointer)
        if message:
            return error_string(message, spec)
        second, minute, hour, day, month, year = struct.unpack("<6i", context.memory.read(pointer, 24))
    elif kind == b"T":
        time = int.from_bytes(context.memory.read(pointer, 8), "little", signed=True)
        second, minute, hour, day, month, year = _time64_to_tm(time)
    else:
        return error_string(b"(%pt?)", spec)

    options = suffix[2:]
    only = options[:1] if options[:1] in (b"d", b"t") else b""
    options = options[len(only) :]
    options = options[: len(options) - len(options.lstrip(b"rs"))]
    raw = b"r" in options
    parts = []
    if only != b"t":
        parts.append(
            _joined(b"-", (year + (0 if raw else 1900), 4), (month + (0 if raw else 1), 2), (day, 2))
        )
    if only != b"d":
        parts.append(_joined(b":", (hour, 2), (minute, 2), (second, 2)))
    return (b" " if b"s" in options else b"T").join(parts)


def _joined(separator: bytes, *numbers: tuple[int, int]) -> bytes:
    """Numbers in their widths. They are printed as unsigned: a negative one shows as 20 digits."""
    return separator.join(number(value, Spec(ZEROPAD, width=width)) for value, width in numbers)


def _time64_to_tm(time: int) -> tuple[int, int, int, int, int, int]:
    """Second, minute, hour, day, month from 0, year from 1900 of a UTC time (kernel/time/timeconv.c)."""
    days, seconds = divmod(time, _SECONDS_A_DAY)
    cycle, day = divmod(days + _DAYS_BEFORE_1970, _DAYS_A_CYCLE)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # 0 is March
    day -= (153 * month + 2) // 5
    year += 400 * cycle + (month >= 10)
    year_field = (year - 1900 + (1 << 31)) % (1 << 32) - (1 << 31)  # rtc_time.tm_year is an int
    return seconds % 60, seconds // 60 % 60, seconds // 3600, day + 1, (month + 2) % 12, year_field
