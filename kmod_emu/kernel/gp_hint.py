"""What the kernel says of a general protection fault besides that it was one (arch/x86/kernel/traps.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_LOWER_END, _UPPER_START, _MASK64 = 1 << 47, (1 << 64) - (1 << 47), (1 << 64) - 1
_MOV_TO_SEGMENT = 0x8E
_REX_B = 1


def general_protection(kernel: KernelCore, rip: int) -> tuple[str, int]:
    """The kind of fault as its line begins, and the error code.

    The kernel takes what the instruction's ModRM byte names for an address, and without one that of RAX.
    """
    import capstone

    from kmod_emu.machine.operands import memory_operands

    name, registers = "general protection fault", kernel.cpu.registers()
    try:
        code = kernel.memory.read(rip, 15)
    except PageFault:
        return name, 0
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    instruction = next(decoder.disasm(code, rip, 1), None)
    if instruction is None:
        return name, 0
    operand = registers[_NAMES[instruction.modrm & 7 | (instruction.rex & _REX_B) << 3]]
    in_register = instruction.modrm >> 6 == 3
    if in_register and instruction.opcode[0] == _MOV_TO_SEGMENT:
        return f"segment-related {name}", operand & 0xFFFC
    places = memory_operands(code, rip, registers) if instruction.modrm and not in_register else []
    address, size = places[0] if places else (operand, 1)
    if address < _UPPER_START and (address + size - 1 & _MASK64) >= _LOWER_END:
        return f"{name}, probably for non-canonical address {address:#x}", 0
    return f"{name}, maybe for address {address:#x}", 0
