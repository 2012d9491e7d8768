"""Where the arguments of a variadic call come from (System V x86-64 calling convention)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.machine.memory import Memory

__all__ = ["Arguments", "RegisterArguments", "VaList"]

_GP_REGISTERS_END = 48  # six argument registers of eight bytes in a register save area


class Arguments(Protocol):
    """Where variadic arguments come from."""

    def next(self) -> int:
        """The next 8-byte argument slot, unsigned."""


class RegisterArguments:
    """The arguments of a variadic call: the registers that are left, then the stack.

    Args:
        registers: Values of the argument registers after the named parameters.
        memory: Guest memory.
        stack_address: Address of the first argument on the stack (RSP + 8 at the function's entry).
    """

    def __init__(self, registers: Sequence[int], memory: Memory, stack_address: int) -> None:
        self._registers = registers
        self._memory = memory
        self._stack = stack_address - 8 * len(registers)
        self._index = 0

    def next(self) -> int:
        """The next argument slot."""
        index = self._index
        self._index = index + 1
        if index < len(self._registers):
            return self._registers[index]
        return self._memory.read_u64(self._stack + 8 * index)


class VaList:
    """A guest's va_list (System V x86-64: struct __va_list_tag, 24 bytes).

    Args:
        memory: Guest memory.
        address: Address of the structure.
        advance: Whether reading moves the guest's structure on, as va_arg() does; False reads as a va_copy().
    """

    def __init__(self, memory: Memory, address: int, *, advance: bool = True) -> None:
        self._memory = memory
        self._address = address
        self._advance = advance
        tag = struct.unpack("<IIQQ", memory.read(address, 24))
        self._gp_offset, _, self._overflow_arg_area, self._reg_save_area = tag

    def next(self) -> int:
        """The next argument slot."""
        if self._gp_offset < _GP_REGISTERS_END:
            value = self._memory.read_u64(self._reg_save_area + self._gp_offset)
            self._gp_offset += 8
            if self._advance:
                self._memory.write_u32(self._address, self._gp_offset)
        else:
            value = self._memory.read_u64(self._overflow_arg_area)
            self._overflow_arg_area += 8
            if self._advance:
                self._memory.write_u64(self._address + 8, self._overflow_arg_area)
        return value
