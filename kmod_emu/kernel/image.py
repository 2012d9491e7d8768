"""The guest half of the stub base kernel: an ELF image and its System.map, shipped prebuilt.

`guest_kernel_stubs/` holds the source. Its `.imports` section lists the few functions that guest code
calls back into Python for; their addresses are filled in at boot.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.machine.memory import EXEC, READ, WRITE, page_align

if TYPE_CHECKING:
    from kmod_emu.machine.memory import Memory

_FOLDER = Path(__file__).parent.parent / "data" / "base_kernel"
_PT_LOAD = 1
_PF_X, _PF_W = 1, 2


class Segment(NamedTuple):
    """One PT_LOAD segment: where, what, and what the guest may do there."""

    address: int
    data: bytes
    size: int
    perms: int


class Image(NamedTuple):
    """The parsed files.

    Attributes:
        segments: To be mapped.
        symbols: Name -> (address, type letter) as in System.map; upper case letters are global.
        traps: The assembled trap tails.
    """

    segments: tuple[Segment, ...]
    symbols: dict[str, tuple[int, str]]
    traps: bytes


@lru_cache(maxsize=1)
def load_image() -> Image:
    """Read and parse the shipped image (once a process)."""
    symbols = {}
    for line in (_FOLDER / "System.map").read_text("ascii").splitlines():
        address, letter, name = line.split()
        symbols[name] = (int(address, 16), letter)
    elf = (_FOLDER / "base_kernel.elf").read_bytes()
    return Image(tuple(_segments(elf)), symbols, (_FOLDER / "traps.bin").read_bytes())


def _segments(elf: bytes) -> list[Segment]:
    offset, count = struct.unpack_from("<Q", elf, 32)[0], struct.unpack_from("<H", elf, 56)[0]
    segments = []
    for index in range(count):
        kind, flags, start, address, _, filesz, memsz, _ = struct.unpack_from(
            "<IIQQQQQQ", elf, offset + 56 * index
        )
        if kind == _PT_LOAD:
            perms = READ | (WRITE if flags & _PF_W else 0) | (EXEC if flags & _PF_X else 0)
            segments.append(Segment(address, elf[start : start + filesz], memsz, perms))
    return segments


def map_image(image: Image, memory: Memory) -> None:
    """Copy the segments into guest memory and protect them."""
    for segment in image.segments:
        memory.protect(segment.address, page_align(segment.size), segment.perms)
        memory.write(segment.address, segment.data)


def import_slots(image: Image, memory: Memory) -> dict[str, int]:
    """Name of each function that guest code calls back for -> address of the pointer to fill in."""
    start, end = image.symbols["__start_imports"][0], image.symbols["__stop_imports"][0]
    slots = {}
    for record in range(start, end, 16):
        slots[memory.read_cstring(memory.read_u64(record)).decode()] = memory.read_u64(record + 8)
    return slots
