"""Which memory an instruction touches, from its encoding and the registers (capstone)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MASK64 = (1 << 64) - 1


def memory_operands(code: bytes, address: int, registers: Mapping[str, int]) -> list[tuple[int, int]]:
    """(address, size) of the memory operands of the instruction at the start of `code`.

    A segment's base is added if it is among the registers, as "gs"; push, pop, call and ret touch the stack.

    >>> memory_operands(bytes.fromhex("8b4708"), 0, {"rdi": 0x1000})
    [(4104, 4)]
    """
    import capstone
    from capstone import x86

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    instruction = next(decoder.disasm(code, address, 1), None)
    if instruction is None:
        return []

    def value(register: int) -> int:
        if register == x86.X86_REG_INVALID:
            return 0
        if register == x86.X86_REG_RIP:
            return address + int(instruction.size)
        return registers.get(instruction.reg_name(register), 0)

    if instruction.mnemonic in ("lea", "nop"):  # they only name an address
        return []
    found = []
    for operand in instruction.operands:
        if operand.type == x86.X86_OP_MEM:
            mem = operand.mem
            place = value(mem.base) + value(mem.index) * mem.scale + mem.disp + value(mem.segment)
            found.append((place & _MASK64, int(operand.size)))
    rsp = registers.get("rsp", 0)
    if instruction.mnemonic.startswith(("push", "call")):
        found.append((rsp - 8 & _MASK64, 8))
    elif instruction.mnemonic.startswith(("pop", "ret")) and instruction.mnemonic != "popcnt":
        found.append((rsp, 8))
    return found
