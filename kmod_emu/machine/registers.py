"""The processor's registers, by their names and all at once."""

from __future__ import annotations

import ctypes
from typing import Any

import unicorn
from unicorn import x86_const as x86

_NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
          "r14", "r15", "rip", "eflags")  # fmt: skip
_REGISTERS = {name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in _NAMES}
_REGISTER_IDS = list(_REGISTERS.values())
_ALL_IDS = [
    *_REGISTER_IDS,
    x86.UC_X86_REG_FS_BASE,
    x86.UC_X86_REG_GS_BASE,
    x86.UC_X86_REG_MXCSR,
    *range(x86.UC_X86_REG_XMM0, x86.UC_X86_REG_XMM0 + 16),
]
try:  # without the binding's checks RIP takes a third of the time, and it is read at every stop
    from unicorn.unicorn_py3.unicorn import uclib as _uclib
except ImportError:  # another release of the binding
    _uclib = None


class Registers:
    """Those of one processor.

    Args:
        uc: Unicorn.
    """

    def __init__(self, uc: unicorn.Uc) -> None:
        self._uc = uc
        self._rip = ctypes.c_uint64()
        self._rip_pointer = ctypes.byref(self._rip)

    def read(self, name: str) -> int:
        """Read a register by its lower-case name."""
        return int(self._uc.reg_read(_REGISTERS[name]))

    def write(self, name: str, value: int) -> None:
        """Write a register by its lower-case name."""
        self._uc.reg_write(_REGISTERS[name], value & 0xFFFF_FFFF_FFFF_FFFF)

    @property
    def rip(self) -> int:
        """The instruction pointer."""
        if _uclib is None:
            return int(self._uc.reg_read(x86.UC_X86_REG_RIP))
        _uclib.uc_reg_read(self._uc._uch, x86.UC_X86_REG_RIP, self._rip_pointer)
        return self._rip.value

    def registers(self) -> dict[str, int]:
        """All general registers, RIP and EFLAGS by name."""
        return dict(zip(_REGISTERS, map(int, self._uc.reg_read_batch(_REGISTER_IDS)), strict=True))

    def set_gs_base(self, address: int) -> None:
        """Point GS at the per-CPU area."""
        self._uc.reg_write(x86.UC_X86_REG_GS_BASE, address)

    def set_cr2(self, address: int) -> None:
        """Say where a page fault was."""
        self._uc.reg_write(x86.UC_X86_REG_CR2, address)

    def save(self) -> unicorn.UcContext:
        """All registers, as a context for `restore`."""
        return self._uc.context_save()

    def restore(self, context: unicorn.UcContext) -> None:
        """Put back all registers."""
        self._uc.context_restore(context)

    def save_into(self, context: unicorn.UcContext) -> None:
        """As `save`, into a context there is."""
        self._uc.context_update(context)

    def read_number(self, number: int) -> Any:
        """A register by Unicorn's number, of any width: x87 registers are pairs."""
        return self._uc.reg_read(number)

    def write_number(self, number: int, value: Any) -> None:
        """Set a register by Unicorn's number."""
        self._uc.reg_write(number, value)

    def read_msr(self, number: int) -> int:
        """A model-specific register."""
        return int(self._uc.msr_read(number))

    def write_msr(self, number: int, value: int) -> None:
        """Set a model-specific register."""
        self._uc.msr_write(number, value)

    def registers_of(self, context: unicorn.UcContext | dict[str, int]) -> dict[str, int]:
        """General registers of a saved context by name."""
        if isinstance(context, dict):
            return context
        return {name: int(context.reg_read(number)) for name, number in _REGISTERS.items()}

    def reload(self, context: unicorn.UcContext) -> None:
        """Take everything but the registers from a context: a pending exception goes."""
        values = self._uc.reg_read_batch(_ALL_IDS)
        self._uc.context_restore(context)
        self._uc.reg_write_batch(list(zip(_ALL_IDS, values, strict=True)))
