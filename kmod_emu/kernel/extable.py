"""Exception tables: where code that faults on purpose goes on (arch/x86/mm/extable.c).

Each entry is three words relative to themselves: the instruction, its fixup, and what else to do. That third
word is a type and a register number, or in older kernels the address of a handler, which has a name.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.uapi.errno import EIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kernel.kernel import KernelCore

_ENTRY = struct.Struct("<iii")
ENTRY_SIZE = _ENTRY.size
_MASK64 = (1 << 64) - 1

EX_TYPE_NONE, EX_TYPE_DEFAULT, EX_TYPE_FAULT, EX_TYPE_UACCESS, EX_TYPE_COPY, EX_TYPE_CLEAR_FS = range(6)
EX_TYPE_WRMSR, EX_TYPE_RDMSR, EX_TYPE_WRMSR_SAFE, EX_TYPE_RDMSR_SAFE = 8, 9, 10, 11
EX_TYPE_DEFAULT_MCE_SAFE, EX_TYPE_FAULT_MCE_SAFE = 14, 15
EX_TYPE_POP_REG, EX_TYPE_IMM_REG, EX_TYPE_UCOPY_LEN = 16, 17, 19
_IGNORED = (EX_TYPE_DEFAULT, EX_TYPE_UACCESS, EX_TYPE_CLEAR_FS, EX_TYPE_WRMSR, EX_TYPE_RDMSR,
            EX_TYPE_DEFAULT_MCE_SAFE)  # fmt: skip
_FLAG_CLEAR_AX, _FLAG_CLEAR_DX = 1, 2
_HANDLERS = {  # of kernels whose third word is an address
    "ex_handler_default": EX_TYPE_DEFAULT,
    "ex_handler_fault": EX_TYPE_FAULT,
    "ex_handler_uaccess": EX_TYPE_UACCESS,
    "ex_handler_copy": EX_TYPE_COPY,
    "ex_handler_clear_fs": EX_TYPE_CLEAR_FS,
    "ex_handler_wrmsr_unsafe": EX_TYPE_WRMSR,
    "ex_handler_rdmsr_unsafe": EX_TYPE_RDMSR,
}
_REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))


def fixup(kernel: KernelCore, rip: int, vector: int, tables: Iterable[tuple[int, int]]) -> int | None:
    """Where to go on after a fault, with registers as the entry wants them; None if no entry is for it.

    Args:
        kernel: The machine.
        rip: The instruction that faulted.
        vector: The exception's number.
        tables: Address and size of each exception table.
    """
    for start, size in tables:
        entries = _ENTRY.iter_unpack(kernel.memory.read(start, size // ENTRY_SIZE * ENTRY_SIZE))
        for entry, (insn, target, data) in zip(range(start, start + size, ENTRY_SIZE), entries, strict=False):
            if entry + insn & _MASK64 == rip:
                done = _handle(kernel, entry + 8, data, vector)
                return entry + 4 + int(target) & _MASK64 if done else None
    return None


def has_entry(kernel: KernelCore, rip: int, tables: Iterable[tuple[int, int]]) -> bool:
    """Whether any table has an entry for an instruction."""
    for start, size in tables:
        entries = _ENTRY.iter_unpack(kernel.memory.read(start, size // ENTRY_SIZE * ENTRY_SIZE))
        for entry, (insn, _, _) in zip(range(start, start + size, ENTRY_SIZE), entries, strict=False):
            if entry + insn & _MASK64 == rip:
                return True
    return False


def _handle(kernel: KernelCore, place: int, data: int, vector: int) -> bool:
    """Do what the third word at `place` says; False if it is for no fault that happens here."""
    kind, flags, register, immediate = data & 0xFF, data >> 12 & 0xF, data >> 8 & 0xF, data >> 16
    if kernel.profile.has("exception_table_entry.handler"):
        name = _symbol_at(kernel, place + data & _MASK64)
        kind, flags = _HANDLERS.get(name, EX_TYPE_NONE), 0
    cpu = kernel.cpu
    if kind in (EX_TYPE_FAULT, EX_TYPE_COPY, EX_TYPE_FAULT_MCE_SAFE):
        cpu.write("rax", vector)
    elif kind in (EX_TYPE_WRMSR_SAFE, EX_TYPE_RDMSR_SAFE):
        cpu.write(_REGISTERS[register], -EIO & _MASK64)
    elif kind == EX_TYPE_IMM_REG:
        cpu.write(_REGISTERS[register], immediate & _MASK64)
    elif kind == EX_TYPE_POP_REG:
        cpu.write(_REGISTERS[register], kernel.memory.read_u64(cpu.read("rsp")))
        cpu.write("rsp", cpu.read("rsp") + 8)
    elif kind == EX_TYPE_UCOPY_LEN:
        cpu.write("rcx", immediate * cpu.read("rcx") + cpu.read(_REGISTERS[register]) & _MASK64)
    elif kind not in _IGNORED:
        return False
    if flags & _FLAG_CLEAR_AX:
        cpu.write("rax", 0)
    if flags & _FLAG_CLEAR_DX:
        cpu.write("rdx", 0)
    return True


def _symbol_at(kernel: KernelCore, address: int) -> str:
    """The export at an address, implemented or not."""
    absent = kernel.symbols.absent(address)
    if absent is not None:
        return absent
    location = kernel.symbols.locate(address)
    return location.name if location is not None and not location.offset else ""
