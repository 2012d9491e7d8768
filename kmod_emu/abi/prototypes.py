"""C prototypes, as kernel headers write them: how to read the arguments and write the result.

Calls follow the System V ABI for x86-64 as the kernel uses it: six integer registers, then the stack; no
floating point. A structure passed by value is refused, except small ones that are known to travel as the
integer they fill (`kuid_t`, `pgprot_t`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi.callformat import format_call
from kmod_emu.abi.ctype import (
    CType,
    function_pointer,
    is_name,
    is_whole,
    pointer_to,
    read_type,
    type_text,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["REGISTER_ARGUMENTS", "CType", "Parameter", "Prototype", "format_call", "parse"]

REGISTER_ARGUMENTS = 6  # rdi rsi rdx rcx r8 r9

_MASK64 = (1 << 64) - 1


class Parameter(NamedTuple):
    """One parameter; its name is "" where the prototype gives none."""

    name: str
    type: CType


class Prototype(NamedTuple):
    """A function's prototype.

    Attributes:
        name: The function.
        returns: Its return type.
        parameters: The named parameters, in order.
        variadic: Whether `...` follows them.
        text: The prototype in C, spaced uniformly.
    """

    name: str
    returns: CType
    parameters: tuple[Parameter, ...]
    variadic: bool
    text: str

    def argument_format(self) -> str:
        """The `struct` format that reads the register arguments from an argument page.

        The page begins with one little-endian 8-byte slot a register: rdi rsi rdx rcx r8 r9, then rsp.

        >>> parse("void *krealloc(const void *p, size_t new_size, gfp_t flags)").argument_format()
        '<QQI4x'
        """
        return "<" + "".join(parameter.type.format for parameter in self.parameters[:REGISTER_ARGUMENTS])

    @property
    def stack_parameters(self) -> tuple[Parameter, ...]:
        """The parameters after the sixth: 8-byte slots at rsp+8, rsp+16, ... when the function begins."""
        return self.parameters[REGISTER_ARGUMENTS:]

    def encode_result(self, value: int | None) -> int:
        """The unsigned 64-bit RAX for a result: cut to the return type, then sign- or zero-extended.

        Raises:
            TypeError: None for a function that is not void.

        >>> hex(parse("int f(void)").encode_result(-12)), parse("bool f(void)").encode_result(7)
        ('0xfffffffffffffff4', 1)
        """
        returns = self.returns
        if returns.kind == "void":
            return 0
        if value is None:
            raise TypeError(f"{self.name} returns {returns.text}, not None")
        if returns.kind == "bool":
            return 1 if value else 0
        if returns.size == 8:
            return value & _MASK64
        bits = 8 * returns.size
        value &= (1 << bits) - 1
        if returns.signed and value >> (bits - 1):
            value -= 1 << bits
        return value & _MASK64


@cache
def parse(text: str) -> Prototype:
    """Read a prototype.

    Raises:
        ValueError: It is not a prototype, or a type in it is not known or cannot be passed in registers.

    >>> prototype = parse("ssize_t vfs_read(struct file *file, char __user *buf, size_t count, loff_t *pos)")
    >>> prototype.name, prototype.returns.signed, [parameter.name for parameter in prototype.parameters]
    ('vfs_read', True, ['file', 'buf', 'count', 'pos'])
    >>> buf = prototype.parameters[1].type
    >>> buf.text, buf.kind, buf.pointee, buf.user, buf.is_text
    ('char __user *', 'pointer', 'char', True, False)
    """
    head, parenthesis, tail = text.strip().removesuffix(";").rstrip().partition("(")
    if not parenthesis or not tail.endswith(")"):
        raise ValueError(f"not a prototype: {text!r}")
    try:
        name, parts = _declarator(head)
        returns = read_type(" ".join(parts))
        if not name:
            raise ValueError("no function name or no return type")
        parameters, variadic = _parameters(tail[:-1])
    except ValueError as error:
        raise ValueError(f"{error}: {text!r}") from None
    declared = [parameter.type.declare(parameter.name) for parameter in parameters]
    if variadic:
        declared.append("...")
    return Prototype(
        name, returns, parameters, variadic, f"{returns.declare(name)}({', '.join(declared) or 'void'})"
    )


def _parameters(text: str) -> tuple[tuple[Parameter, ...], bool]:
    """The parameters between the outer parentheses, and whether the list ends in `...`."""
    pieces = [piece.strip() for piece in _split(text)]
    if pieces in ([""], ["void"]):
        return (), False
    variadic = pieces[-1] == "..."
    if variadic:
        pieces.pop()
        if not pieces:
            raise ValueError("... without a parameter before it")
    return tuple([_parameter(piece) for piece in pieces]), variadic


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    if "(" not in text and ")" not in text:
        return text.split(",")
    return list(_split_nested(text))


def _split_nested(text: str) -> Iterator[str]:
    depth = start = 0
    for position, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                break
        elif character == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    if depth:
        raise ValueError("unbalanced parentheses")
    yield text[start:]


def _parameter(text: str) -> Parameter:
    if "(" in text:
        return _function_parameter(text)
    if "[" in text:
        # An array parameter is a pointer to its first element, which may itself be an array.
        text, _, bounds = text.partition("[")
        if not bounds.rstrip().endswith("]"):
            raise ValueError(f"cannot read the array {text!r}")
        name, parts = _declarator(text)
        return Parameter(name, pointer_to(parts))
    name, parts = _declarator(text)
    ctype = read_type(" ".join(parts))
    if ctype.kind == "void":
        raise ValueError(f"parameter {name!r} is void")
    return Parameter(name, ctype)


def _function_parameter(text: str) -> Parameter:
    """`int (*fn)(void *data)`, or `int fn(void *data)`, which C adjusts to the same."""
    head, _, rest = text.partition("(")
    if rest.lstrip().startswith("*"):
        inner, _, rest = rest.partition(")")
        stars, name = _stars_and_name(inner)
        returns, arguments = words(head), rest.strip()
    else:
        name, returns = _declarator(head)
        stars, arguments = "*", f"({rest}"
    if not (arguments.startswith("(") and arguments.endswith(")")) or not returns:
        raise ValueError(f"cannot read the function parameter {text!r}")
    return Parameter(name, function_pointer(type_text(returns), stars, arguments))


def _stars_and_name(text: str) -> tuple[str, str]:
    """Of `*fn`, the inside of a function pointer's declarator: the stars and the name."""
    text, bracket, _ = text.partition("[")
    parts = words(text)
    # An array of function pointers is passed as a pointer to the first.
    stars = "*" * (parts.count("*") + bool(bracket))
    names = [word for word in parts if word != "*" and is_name(word)]
    if len(names) > 1 or "(" in text:
        raise ValueError(f"cannot read the declarator {text!r}")
    return stars, names[0] if names else ""


def _declarator(text: str) -> tuple[str, list[str]]:
    """The name and the type's words of `type name`; the name is "" for a type alone."""
    parts = words(text)
    if not parts:
        raise ValueError("an empty declaration")
    if len(parts) > 1 and is_name(parts[-1]) and is_whole(parts[:-1]):
        return parts[-1], parts[:-1]
    return "", parts
