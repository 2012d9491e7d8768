"""Machine code as gdb shows it: AT&T or Intel syntax, addresses with their symbols."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import capstone

__all__ = ["Decoded", "decode", "indirect_target"]

_MAX_LENGTH = 15
_SUFFIXES = "bwlq"
_SMALL = re.compile(r"(?<!\w)(-?)(\d+)\(")  # a displacement in decimal
_NO_SCALE = re.compile(r"(\((?:%\w+)?,%\w+)\)")
_ABSOLUTE = re.compile(r"(^|,|:)(\d+)(?=$|,)(?![^()]*\))")  # an address without a register
_BASE = re.compile(r"(?<![\w)])\(")  # a displacement left out
_IMMEDIATE = re.compile(r"\$(-?)(0x[0-9a-f]+|\d+)")
_BRANCHES = ("call", "jmp", "loop", "jrcxz", "jecxz")


class Decoded(NamedTuple):
    """An instruction.

    Attributes:
        target: Where a direct jump or call leads.
        refers: What it addresses relative to itself.
    """

    address: int
    size: int
    mnemonic: str
    operands: str
    target: int | None = None
    refers: int | None = None

    def text(self, symbol: Callable[[int], str]) -> str:
        """The instruction with symbols: `symbol` gives `<name+offset>`."""
        if self.target is not None:
            name = symbol(self.target)
            return f"{self.mnemonic:<6} {self.target:#x}{' ' if name else ''}{name}"
        text = f"{self.mnemonic:<6} {self.operands}".rstrip() if self.operands else self.mnemonic
        if self.refers is not None:
            name = symbol(self.refers)
            text += f"        # {self.refers:#x}{' ' if name else ''}{name}"
        return text


@cache
def _decoders() -> tuple[capstone.Cs, capstone.Cs]:
    """Intel's syntax, with details, and AT&T's."""
    import capstone

    intel, att = (capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64) for _ in range(2))
    intel.detail = True
    att.syntax = capstone.CS_OPT_SYNTAX_ATT
    return intel, att


def decode(code: bytes, address: int, *, intel: bool = False) -> Iterator[Decoded]:
    """The instructions in some bytes; one that is none is a `.byte`, or at the end left out."""
    place = 0
    while place < len(code):
        found = _one(code[place : place + _MAX_LENGTH], address + place, intel=intel)
        if found is None:
            if len(code) - place < _MAX_LENGTH and place:
                return
            found = Decoded(address + place, 1, "(bad)", "")
        yield found
        place += found.size


def _one(code: bytes, address: int, *, intel: bool) -> Decoded | None:
    plain, att = _decoders()
    detailed: Any = next(plain.disasm(code, address, 1), None)
    if detailed is None:
        return None
    target, refers = _direct_target(detailed), _relative(detailed)
    if intel:
        return Decoded(address, detailed.size, detailed.mnemonic, detailed.op_str, target, refers)
    _, size, mnemonic, operands = next(att.disasm_lite(code, address, 1))
    suffix = mnemonic[-1:] if mnemonic[:-1] == detailed.mnemonic and mnemonic[-1:] in _SUFFIXES else ""
    stackish = detailed.mnemonic in ("call", "jmp", "ret", "push", "pop", "leave", "nop")
    if suffix and (stackish or "%" in re.sub(r"\([^)]*\)|%[a-z]s:", "", operands)):
        mnemonic = mnemonic[:-1] if detailed.mnemonic != "nop" else mnemonic
    return Decoded(address, size, mnemonic, _operands(operands, detailed), target, refers)


def _operands(text: str, detailed: Any) -> str:
    """Operands as binutils write them: no spaces, numbers hexadecimal, immediates as the bits they are."""
    size = max((operand.size for operand in detailed.operands), default=8)

    def immediate(match: re.Match[str]) -> str:
        value = int(match.group(2), 0) * (-1 if match.group(1) else 1)
        return f"${value & (1 << 8 * size) - 1:#x}"

    text = _IMMEDIATE.sub(immediate, text.replace(", ", ","))
    text = _SMALL.sub(lambda match: f"{match.group(1)}{int(match.group(2)):#x}(", text)
    text = _NO_SCALE.sub(r"\1,1)", text)
    text = _ABSOLUTE.sub(lambda match: f"{match.group(1)}{int(match.group(2)):#x}", text)
    return _BASE.sub("0x0(", text) if detailed.encoding.disp_offset else text


def _direct_target(detailed: Any) -> int | None:
    from capstone import x86

    if len(detailed.operands) != 1 or detailed.operands[0].type != x86.X86_OP_IMM:
        return None
    mnemonic = detailed.mnemonic.split()[-1]
    if mnemonic in _BRANCHES or (mnemonic[0] == "j" and mnemonic != "jmp"):
        return int(detailed.operands[0].imm) & (1 << 64) - 1
    return None


def _relative(detailed: Any) -> int | None:
    from capstone import x86

    for operand in detailed.operands:
        if operand.type == x86.X86_OP_MEM and operand.mem.base == x86.X86_REG_RIP:
            return int(detailed.address + detailed.size + operand.mem.disp) & (1 << 64) - 1
    return None


def indirect_target(
    code: bytes, address: int, registers: Mapping[str, int], read: Callable[[int], int]
) -> int | None:
    """Where the call or jump at an address leads with these registers, if it goes through one or memory.

    Args:
        code: The instruction's bytes, or more.
        address: Where it lies.
        registers: By name.
        read: 8 bytes of memory; may raise.
    """
    from capstone import x86

    detailed: Any = next(_decoders()[0].disasm(code[:_MAX_LENGTH], address, 1), None)
    if detailed is None or detailed.mnemonic.split()[-1] not in ("call", "jmp"):
        return None
    operand = detailed.operands[0]
    if operand.type == x86.X86_OP_REG:
        return registers.get(detailed.reg_name(operand.reg))
    if operand.type != x86.X86_OP_MEM:
        return None
    place = operand.mem.disp
    for register, scale in ((operand.mem.base, 1), (operand.mem.index, operand.mem.scale)):
        if register == x86.X86_REG_RIP:
            place += address + detailed.size
        elif register:
            place += registers.get(detailed.reg_name(register), 0) * scale
    return read(place & (1 << 64) - 1)
