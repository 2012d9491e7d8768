"""How a call prints in a trace: `misc_register(misc=0xffff888000001000)`."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from kmod_emu.abi.typedefs import HEX, OCTAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.abi.ctype import CType
    from kmod_emu.abi.prototypes import Parameter, Prototype

__all__ = ["format_call", "format_value", "quote"]

TEXT_LIMIT = 80
_LEVELS = {"0": "KERN_EMERG", "1": "KERN_ALERT", "2": "KERN_CRIT", "3": "KERN_ERR", "4": "KERN_WARNING",
           "5": "KERN_NOTICE", "6": "KERN_INFO", "7": "KERN_DEBUG", "c": "KERN_CONT"}  # fmt: skip

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | str.maketrans(
    {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
)


def quote(text: str) -> str:
    r"""A C string literal of a text, cut after 80 characters; a log level in front by its name.

    >>> print(quote('say "hi"\n'), quote("\x016hello"))
    "say \"hi\"\n" KERN_INFO "hello"
    """
    if text[:1] == "\1" and text[1:2] in _LEVELS:
        return f"{_LEVELS[text[1]]} {quote(text[2:])}"
    literal = f'"{text[:TEXT_LIMIT].translate(_ESCAPES)}"'
    return literal + "..." if len(text) > TEXT_LIMIT else literal


def format_value(
    ctype: CType,
    value: int | str,
    text_of: Callable[[int], str] | None = None,
    name_of: Callable[[int], str | None] | None = None,
) -> str:
    """One argument or result.

    Args:
        ctype: Its type.
        value: The decoded value; a str where the handler gets text.
        text_of: Reads the string at an address, for `const char *`; without it the address is printed.
        name_of: The symbol at an address, for other pointers.
    """
    if isinstance(value, str):
        return quote(value)
    if ctype.kind == "bool":
        return "true" if value else "false"
    if ctype.kind == "pointer":
        if value == 0:
            return "NULL"
        if ctype.is_text and text_of:
            return quote(text_of(value))
        return (name_of and name_of(value)) or hex(value)
    if ctype.text in OCTAL:
        return f"0{value:o}" if value else "0"
    return hex(value) if ctype.text in HEX else _number(value, ctype.signed)


def format_call(
    prototype: Prototype,
    values: Sequence[int | str],
    text_of: Callable[[int], str] | None = None,
    name_of: Callable[[int], str | None] | None = None,
) -> str:
    """A call with its arguments' names and values; values beyond the named parameters print bare.

    >>> from kmod_emu.abi.prototypes import parse
    >>> format_call(parse("void *__kmalloc(size_t size, gfp_t flags)"), (64, 0xCC0))
    '__kmalloc(size=64, flags=0xcc0)'
    >>> format_call(parse("int _printk(const char *fmt, ...)"), (0x1000, 7), lambda address: "n=%d")
    '_printk(fmt="n=%d", 7)'
    """
    pairs = zip_longest(values, prototype.parameters[: len(values)])
    shown = ", ".join(_argument(value, parameter, text_of, name_of) for value, parameter in pairs)
    return f"{prototype.name}({shown})"


def _argument(
    value: int | str,
    parameter: Parameter | None,
    text_of: Callable[[int], str] | None,
    name_of: Callable[[int], str | None] | None,
) -> str:
    if parameter is None:
        return quote(value) if isinstance(value, str) else _number(value)
    shown = format_value(parameter.type, value, text_of, name_of)
    return f"{parameter.name}={shown}" if parameter.name else shown


def _number(value: int, signed: bool = False) -> str:
    """An unsigned number beyond 32 bits is an address or a mask more often than a count."""
    return hex(value) if value >> 32 > 0 and not signed else str(value)
