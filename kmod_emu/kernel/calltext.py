"""A call of a kernel function that is being made, in words: arguments from registers and stack, results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kmod_emu.abi.callformat import format_call, format_value
from kmod_emu.abi.ctype import read_type
from kmod_emu.kernel.errname import errname
from kmod_emu.kernel.exports import registered
from kmod_emu.machine.memory import PAGE_SIZE, PageFault

if TYPE_CHECKING:
    from kmod_emu.abi.ctype import CType
    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.kernel.kernel import KernelCore

_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_MASK64, _MAX_ERRNO = (1 << 64) - 1, 4095
_CONVERSION = re.compile(r"%(?:%|[-+ #0-9.]*(\*)?[-+ #0-9.]*(\*)?(hh|h|ll|l|z|t|L)?([diouxXcsp]))")
_WIDE = ("l", "ll", "z", "t", "L")
_POINTERS = {"s": "const char *", "p": "void *"}
_BAD_POINTER = "(a bad pointer)"


def prototype_of(kernel: KernelCore, name: str) -> Prototype | None:
    """The function's prototype as the release's kernel was built with it, where that is known.

    Of functions written in assembly that knows nothing; ours then says more.
    """
    from kmod_emu.abi import prototypes

    text, ours = kernel.profile.prototype(name), registered().get(name)
    if ours is not None and (not text or text == f"void {name}(void)"):
        text = ours.declaration
    try:
        return prototypes.parse(text) if text else None
    except ValueError:
        return None


def call_text(kernel: KernelCore, name: str, prototype: Prototype | None, stack: int | None = None) -> str:
    """The call that the processor has just made, or is about to make.

    Args:
        kernel: Whose registers hold the arguments.
        name: The function.
        prototype: Its prototype; without one only the registers are shown.
        stack: Where the seventh argument lies; without it there are at most six.
    """
    raw = [kernel.cpu.read(register) for register in _REGISTERS]
    if prototype is None:
        return f"{name}({', '.join(hex(value) for value in raw)})"
    types = [parameter.type for parameter in prototype.parameters]
    if prototype.variadic:
        types += _types_in_format(kernel, prototype, raw)
    if stack is not None and len(types) > len(raw):
        raw += [_word(kernel, stack + 8 * index) for index in range(len(types) - len(raw))]
    values: list[int | str] = []
    for position, (value, ctype) in enumerate(zip(raw, types, strict=False)):
        named = position < len(prototype.parameters)  # format_call() knows the types of those
        values.append(text_at(kernel, value) if not named and ctype.is_text else _cut(value, ctype))
    return format_call(
        prototype,
        values,
        lambda address: text_at(kernel, address),
        lambda address: symbol_at(kernel, address),
    )


def result_text(kernel: KernelCore, returns: CType | None, value: int) -> str:
    """What a call returned, from RAX: a number, an errno by its name, a pointer by its symbol; void is ""."""
    if returns is None:
        return hex(value)
    if returns.kind == "void":
        return ""
    value = _cut(value, returns)
    error = -value if returns.kind == "int" else (1 << 64) - value
    if 0 < error <= _MAX_ERRNO and (returns.signed or returns.kind == "pointer"):
        known = errname(error)
        return f"{-error} ({known})" if known else str(-error)
    return format_value(returns, value, None, lambda address: symbol_at(kernel, address))


def text_at(kernel: KernelCore, address: int) -> str:
    """The string that an argument points to."""
    try:
        return kernel.memory.read_cstring(address).decode("utf-8", "backslashreplace")
    except PageFault:
        return _BAD_POINTER


def symbol_at(kernel: KernelCore, address: int) -> str | None:
    """The symbol that begins at an address, also of a function that is not implemented; None for none."""
    if address < PAGE_SIZE:
        return None
    absent = kernel.symbols.absent(address)
    if absent is not None:
        return absent
    location = kernel.locate(address)
    return location.name if location is not None and not location.offset else None


def _cut(value: int, ctype: CType) -> int:
    """A register as a type takes it."""
    bits = 8 * ctype.size if ctype.size else 32
    value &= (1 << bits) - 1
    return value - (1 << bits) if ctype.signed and value >> bits - 1 else value


def _word(kernel: KernelCore, address: int) -> int:
    try:
        return kernel.memory.read_u64(address)
    except PageFault:
        return 0


def _types_in_format(kernel: KernelCore, prototype: Prototype, raw: list[int]) -> list[CType]:
    """The types of what the format in front of the `...` takes."""
    index = len(prototype.parameters) - 1
    if not 0 <= index < len(raw) or not prototype.parameters[index].type.is_text:
        return []
    types = []
    for match in _CONVERSION.finditer(text_at(kernel, raw[index])):
        width, precision, length, conversion = match.groups()
        if conversion is None:  # a percent sign
            continue
        types += ["int"] * bool(width) + ["int"] * bool(precision)
        size = "long" if length in _WIDE else "int"
        types.append(_POINTERS.get(conversion) or (size if conversion in "di" else f"unsigned {size}"))
    return [read_type(text) for text in types]
