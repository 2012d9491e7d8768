"""The processor's registers by gdb's names and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.values import DebugError, Value, encode

if TYPE_CHECKING:
    from kmod_emu.debug.frames import Frame

__all__ = ["FLAG_NAMES", "GENERAL", "find_register", "flag_text", "register_line"]

GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
           "r14", "r15", "rip", "eflags")  # fmt: skip
_ALIASES = {"pc": "rip", "sp": "rsp", "fp": "rbp"}
FLAG_NAMES = {0: "CF", 2: "PF", 4: "AF", 6: "ZF", 7: "SF", 8: "TF", 9: "IF", 10: "DF", 11: "OF", 14: "NT",
              16: "RF", 17: "VM", 18: "AC", 19: "VIF", 20: "VIP", 21: "ID"}  # fmt: skip
_CODE_POINTER = c.Pointer(c.Function(c.VOID, None))
_DATA_POINTER = c.Pointer(c.VOID)
_FLAGS = c.Integer("i386_eflags", 4, signed=False)


def _halves() -> dict[str, tuple[str, int, int]]:
    """Parts of registers: name -> (register, byte, bytes)."""
    parts: dict[str, tuple[str, int, int]] = {}
    for letter in "abcd":
        whole = f"r{letter}x"
        parts |= {f"e{letter}x": (whole, 0, 4), f"{letter}x": (whole, 0, 2)}
        parts |= {f"{letter}l": (whole, 0, 1), f"{letter}h": (whole, 1, 1)}
    for name in ("si", "di", "bp", "sp"):
        parts |= {f"e{name}": (f"r{name}", 0, 4), f"{name}l": (f"r{name}", 0, 1)}
        if name != "sp":
            parts[name] = (f"r{name}", 0, 2)
    for number in range(8, 16):
        whole = f"r{number}"
        parts |= {f"{whole}d": (whole, 0, 4), f"{whole}w": (whole, 0, 2), f"{whole}l": (whole, 0, 1)}
    return parts


_PARTS = _halves()


def _type_of(name: str) -> c.CType:
    if name == "rip":
        return _CODE_POINTER
    if name in ("rsp", "rbp"):
        return _DATA_POINTER
    return _FLAGS if name == "eflags" else c.LONG


def find_register(frame: Frame | None, name: str) -> Value | None:
    """A register, or a part of one, as it is in a frame; None if there is none of that name.

    Raises:
        DebugError: There is no frame.
    """
    name = _ALIASES.get(name, name)
    if frame is None:
        if name in GENERAL or name in _PARTS:
            raise DebugError("No registers.")
        return None
    memory = frame.program.memory
    if name in _PARTS:
        whole, start, size = _PARTS[name]
        if whole not in frame.registers:
            return None
        content = frame.registers[whole].to_bytes(8, "little")[start : start + size]
        kinds = {1: "signed char", 2: "short", 4: "int"}
        return Value(c.Integer(kinds[size], size, signed=True), content, memory=memory)
    if name not in GENERAL or name not in frame.registers:
        return None

    def store(data: bytes) -> None:
        if frame.store is None:
            raise DebugError("Left operand of assignment is not a modifiable lvalue.")
        frame.store(name, int.from_bytes(data, "little"))

    kind = _type_of(name)
    return Value(
        kind, encode(c.UNSIGNED_LONG, frame.registers[name])[: kind.size], memory=memory, store=store
    )


def flag_text(flags: int) -> str:
    """EFLAGS as gdb prints it.

    >>> flag_text(0x246)
    '[ PF ZF IF ]'
    """
    return "".join(["[ ", *(f"{name} " for bit, name in FLAG_NAMES.items() if flags >> bit & 1), "]"])


def is_flags(value: Value) -> bool:
    """Whether a value is EFLAGS."""
    return value.type is _FLAGS


def register_line(frame: Frame, name: str) -> str:
    """A line of `info registers`."""
    if name not in frame.registers:
        return f"{name:<15}<not saved>"
    number = frame.registers[name]
    if name == "eflags":
        natural = flag_text(number)
    elif name == "rip":
        natural = f"{number:#x}"
        symbol = frame.program.symbol(number)
        natural += f" {symbol}" if symbol else ""
    elif name in ("rsp", "rbp"):
        natural = f"{number:#x}"
    else:
        natural = str(number - (1 << 64) if number >> 63 else number)
    return f"{name:<15}{number:<#20x}{natural}"
