"""The stub base kernel's image on a bare Unicorn: enough of a machine to call its functions one by one."""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_TLB_FILL, UC_MODE_64, UC_PROT_ALL, UC_TLB_VIRTUAL, Uc
from unicorn.x86_const import (
    UC_X86_REG_R8,
    UC_X86_REG_R9,
    UC_X86_REG_RAX,
    UC_X86_REG_RCX,
    UC_X86_REG_RDI,
    UC_X86_REG_RDX,
    UC_X86_REG_RSI,
    UC_X86_REG_RSP,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARGUMENTS = (
    UC_X86_REG_RDI,
    UC_X86_REG_RSI,
    UC_X86_REG_RDX,
    UC_X86_REG_RCX,
    UC_X86_REG_R8,
    UC_X86_REG_R9,
)
MASK = (1 << 64) - 1
RAM_SIZE = 1 << 21
HEAP, HEAP_SIZE = 0xFFFF888000000000, 1 << 20
STACK_TOP = 0xFFFFC90000010000
CALLBACKS = 0xFFFFFFFFC0000000  # one `ret` every 16 bytes; before them a `hlt`, to which calls return
POISON = 0xA5


def signed(value: int, bits: int = 32) -> int:
    """The low bits of a register as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def program_headers(image: Path) -> list[tuple[int, int, int, bytes]]:
    """(address, memory size, flags, contents) of each segment."""
    with image.open("rb") as stream:
        return [
            (seg["p_vaddr"], seg["p_memsz"], seg["p_flags"], seg.data())
            for seg in ELFFile(stream).iter_segments()
        ]


def read_system_map(path: Path) -> dict[str, tuple[int, str]]:
    """Name -> (address, type letter)."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {name: (int(address, 16), letter) for address, letter, name in lines}


class Guest:
    """Calls guest functions as C does; `callback` makes Python functions callable by them."""

    def __init__(self, directory: Path) -> None:
        self.symbols = read_system_map(directory / "System.map")
        self.uc = Uc(UC_ARCH_X86, UC_MODE_64)
        self.uc.ctl_set_tlb_mode(UC_TLB_VIRTUAL)
        self.uc.ctl_exits_enabled(True)  # none: only hlt ends a call
        self.uc.hook_add(UC_HOOK_TLB_FILL, self._fill)
        self._ram = mmap.mmap(-1, RAM_SIZE)
        host = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        self.uc.mem_map_ptr(0, RAM_SIZE, UC_PROT_ALL, host)
        self._regions: list[tuple[int, int, int, int]] = []
        for address, size, flags, data in program_headers(directory / "base_kernel.elf"):
            perms = (flags & 4) >> 2 | flags & 2 | (flags & 1) << 2  # PF_R PF_W PF_X -> UC_PROT_*
            self._map(address, size, perms)
            self.write(address, data)
        self._map(HEAP, HEAP_SIZE, 3)
        self._map(STACK_TOP - 0x4000, 0x4000, 3)
        self._map(CALLBACKS, 0x1000, 5)
        self.write(CALLBACKS, b"\xf4" + b"\xc3" * 0xFFF)
        self._callbacks: list[Callable[..., int | None]] = [lambda: None]
        self.uc.hook_add(UC_HOOK_CODE, self._called, begin=CALLBACKS + 16, end=CALLBACKS + 0xFFF)
        self.printed: list[bytes] = []
        self.reset()

    def _map(self, address: int, size: int, perms: int) -> None:
        physical = sum(region[1] for region in self._regions)
        self._regions.append((address, (size + 0xFFF) & ~0xFFF, physical, perms))

    def _physical(self, address: int) -> tuple[int, int]:
        for start, size, physical, perms in self._regions:
            if start <= address < start + size:
                return physical + address - start, perms
        raise LookupError(f"{address:#x} is not mapped")

    def _fill(self, _uc: Uc, page: int, _access: int, entry: object, _data: object) -> bool:
        try:
            entry.paddr, entry.perms = self._physical(page)  # type: ignore[attr-defined]
        except LookupError:
            return False
        return True

    def reset(self) -> None:
        """Forget what was put into the heap, and all callbacks."""
        self._used = 64
        del self._callbacks[1:]

    def _called(self, uc: Uc, address: int, _size: int, _data: object) -> None:
        function = self._callbacks[(address - CALLBACKS) // 16]
        count = function.__code__.co_argcount - hasattr(function, "__self__")
        result = function(*(uc.reg_read(register) for register in ARGUMENTS[:count]))
        uc.reg_write(UC_X86_REG_RAX, (result or 0) & MASK)

    def callback(self, function: Callable[..., int | None]) -> int:
        """The guest address at which a Python function of up to six integers can be called."""
        assert len(self._callbacks) < 256
        self._callbacks.append(function)
        return CALLBACKS + 16 * (len(self._callbacks) - 1)

    def bind_import(self, name: str, function: Callable[..., int | None]) -> None:
        """Fill the slot of an import, as the loader does at boot."""
        for record in range(self.address("__start_imports"), self.address("__stop_imports"), 16):
            pointer, slot = self.unpack("<QQ", record)
            if self.string(pointer) == name.encode():
                self.write(slot, struct.pack("<Q", self.callback(function)))
                return
        raise KeyError(name)

    def physical(self, address: int) -> int:
        """The physical address, which is what memory hooks are given."""
        return self._physical(address)[0]

    def address(self, name: str) -> int:
        """Where a symbol is."""
        return self.symbols[name][0]

    def put(self, data: bytes, align: int = 16) -> int:
        """Store bytes in the heap between poisoned ones; returns their address."""
        start = -(-self._used // align) * align
        self._used = start + len(data) + 32
        assert self._used < HEAP_SIZE
        self.write(HEAP + start - 8, bytes([POISON]) * 8 + data + bytes([POISON]) * 32)
        return HEAP + start

    def text(self, data: bytes) -> int:
        """Store a C string."""
        return self.put(data + b"\0")

    def words(self, *values: int) -> int:
        """Store 64-bit words."""
        return self.put(struct.pack(f"<{len(values)}Q", *(value & MASK for value in values)))

    def read(self, address: int, size: int) -> bytes:
        """Bytes of guest memory."""
        physical = self.physical(address)
        return self._ram[physical : physical + size]

    def write(self, address: int, data: bytes) -> None:
        """Change bytes of guest memory."""
        physical = self.physical(address)
        self._ram[physical : physical + len(data)] = data

    def unpack(self, layout: str, address: int) -> tuple[int, ...]:
        """Integers of guest memory, by a struct layout."""
        return struct.unpack(layout, self.read(address, struct.calcsize(layout)))

    def string(self, address: int) -> bytes:
        """A C string of guest memory."""
        end = address
        while self.read(end, 1) != b"\0":
            end += 1
        return self.read(address, end - address)

    def call(self, name: str, *args: int) -> int:
        """Call a function; returns RAX, unsigned."""
        return self.call_address(self.address(name), *args)

    def call_address(self, address: int, *args: int) -> int:
        """Call the function at an address with integers or pointers; from the seventh on the stack."""
        for register, value in zip(ARGUMENTS, args, strict=False):
            self.uc.reg_write(register, value & MASK)
        stack = struct.pack(f"<{1 + len(args[6:])}Q", CALLBACKS, *(value & MASK for value in args[6:]))
        rsp = STACK_TOP - 128
        self.write(rsp, stack)
        self.uc.reg_write(UC_X86_REG_RSP, rsp)
        self.uc.emu_start(address, 0)
        assert self.uc.reg_read(UC_X86_REG_RSP) == rsp + 8
        return int(self.uc.reg_read(UC_X86_REG_RAX))

    def call_int(self, name: str, *args: int) -> int:
        """Call a function that returns int."""
        return signed(self.call(name, *args))
