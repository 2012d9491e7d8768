"""DWARF expressions: where a variable is, or what its value is."""

from __future__ import annotations

import operator
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kmod_emu.debug.c.types import Integer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Context", "Kind", "Place", "Unavailable", "evaluate"]

_MASK = (1 << 64) - 1
_STEPS = 10_000  # operations after which an expression is given up: a damaged one may go round in circles


class Unavailable(Exception):
    """The value is nowhere any more, or nobody knows where."""


class Kind(Enum):
    """What an expression came to."""

    MEMORY = "an address"
    REGISTER = "a register's number"
    VALUE = "the bytes themselves"
    SYNTHETIC = "a pointer to what has no address"


class Place(NamedTuple):
    """Where something is.

    Attributes:
        number: The address, or the register's DWARF number.
        content: The bytes, for a value.
    """

    kind: Kind
    number: int = 0
    content: bytes = b""


class Context(Protocol):
    """What an expression refers to: a frame on a machine."""

    def register(self, number: int) -> int:
        """A register by its DWARF number; raises Unavailable."""

    def read(self, address: int, size: int) -> bytes:
        """Guest memory."""

    def cfa(self) -> int:
        """The canonical frame address: the stack pointer before the call."""

    def frame_base(self) -> int:
        """DW_AT_frame_base of the function."""

    def entry_value(self, operations: Sequence[Any]) -> int:
        """What an expression was when the function was entered."""

    def base_type(self, offset: int) -> Integer | None:
        """The type that an operation names, by the entry's offset in its unit; None for the generic one."""


_Entry = tuple[int, Integer | None]  # None is the generic type: 64 bits, signed where it matters


def _signed(entry: _Entry) -> int:
    value, kind = entry
    return value - (1 << 64) if kind is None and value >> 63 else value


def _divide(left: int, right: int) -> int:
    if not right:
        raise Unavailable("a division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "plus": operator.add,
    "minus": operator.sub,
    "mul": operator.mul,
    "div": _divide,
    "mod": lambda left, right: left % right if right else 0,
    "shl": lambda left, right: left << right if 0 <= right < 64 else 0,
    "shr": lambda left, right: (left & _MASK) >> right if 0 <= right < 64 else 0,
    "shra": lambda left, right: left >> min(right & _MASK, 63),
}
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
    "ne": operator.ne,
}


class _Machine:
    """One evaluation."""

    def __init__(self, context: Context, start: Sequence[int]) -> None:
        self.context = context
        self.stack: list[_Entry] = [(value, None) for value in start]
        self.pieces: list[bytes] = []
        self.result: Place | None = None

    def push(self, value: int, kind: Integer | None = None) -> None:
        self.stack.append((kind.cut(value) if kind else value & _MASK, kind))

    def pop(self) -> int:
        return self.stack.pop()[0]

    def place(self) -> Place:
        """What has been computed so far."""
        result, self.result = self.result, None
        return result or Place(Kind.MEMORY, self.pop() & _MASK)

    def contents(self, size: int) -> bytes:
        """The bytes of a piece."""
        if self.result is None and not self.stack:
            raise Unavailable("a part is optimized out")
        place = self.place()
        if place.kind is Kind.MEMORY:
            return self.context.read(place.number, size)
        if place.kind is Kind.REGISTER:
            return self.context.register(place.number).to_bytes(8, "little")[:size]
        return place.content[:size]

    def step(self, name: str, args: Sequence[Any]) -> None:  # noqa: C901 - a table of operations
        """One operation, without DW_OP_."""
        context = self.context
        if name.startswith("lit"):
            self.push(int(name[3:]))
        elif (name.startswith("const") and name != "const_type") or name == "addr":
            self.push(args[0])
        elif name.startswith("breg") and name != "bregx":
            self.push(context.register(int(name[4:])) + args[0])
        elif name == "bregx":
            self.push(context.register(args[0]) + args[1])
        elif name.startswith("reg") and name[3:].isdigit():
            self.result = Place(Kind.REGISTER, int(name[3:]))
        elif name == "regx":
            self.result = Place(Kind.REGISTER, args[0])
        elif name == "fbreg":
            self.push(context.frame_base() + args[0])
        elif name == "call_frame_cfa":
            self.push(context.cfa())
        elif name == "plus_uconst":
            value, kind = self.stack.pop()
            self.push(value + args[0], kind)
        elif name in _ARITHMETIC or name in _COMPARISONS:
            self._binary(name)
        elif name in ("deref", "deref_size"):
            size = args[0] if args else 8
            self.push(int.from_bytes(context.read(self.pop() & _MASK, size), "little"))
        elif name in ("neg", "not", "abs"):
            entry = self.stack.pop()
            value = _signed(entry)
            self.push({"neg": -value, "not": ~value, "abs": abs(value)}[name], entry[1])
        elif name == "stack_value":
            self.result = Place(Kind.VALUE, 0, (self.pop() & _MASK).to_bytes(8, "little"))
        elif name == "implicit_value":
            self.result = Place(Kind.VALUE, 0, bytes(args[0]))
        elif name == "piece":
            self.pieces.append(self.contents(args[0]))
        else:
            self._rare(name.removeprefix("GNU_"), args)

    def _rare(self, name: str, args: Sequence[Any]) -> None:
        context = self.context
        if name == "entry_value":
            self.push(context.entry_value(args[0]))
        elif name == "implicit_pointer":
            self.result = Place(Kind.SYNTHETIC)
        elif name in ("convert", "reinterpret"):
            self.push(self.pop(), context.base_type(args[0]) if args[0] else None)
        elif name == "regval_type":
            self.push(context.register(args[0]), context.base_type(args[1]))
        elif name == "deref_type":
            value = int.from_bytes(context.read(self.pop() & _MASK, args[0]), "little")
            self.push(value, context.base_type(args[1]))
        elif name == "const_type":
            self.push(int.from_bytes(bytes(args[1]), "little"), context.base_type(args[0]))
        else:
            self._shuffle(name, args)

    def _shuffle(self, name: str, args: Sequence[Any]) -> None:
        stack = self.stack
        if name == "dup":
            stack.append(stack[-1])
        elif name == "drop":
            stack.pop()
        elif name == "over":
            stack.append(stack[-2])
        elif name == "pick":
            stack.append(stack[-1 - args[0]])
        elif name == "swap":
            stack[-1], stack[-2] = stack[-2], stack[-1]
        elif name == "rot":
            stack[-3:] = stack[-1], stack[-3], stack[-2]
        elif name != "nop":
            raise Unavailable(f"DW_OP_{name}")

    def _binary(self, name: str) -> None:
        right, left = self.stack.pop(), self.stack.pop()
        if name in _COMPARISONS:
            self.push(_COMPARISONS[name](_signed(left), _signed(right)))
        else:
            self.push(_ARITHMETIC[name](_signed(left), _signed(right)), left[1])


def evaluate(operations: Sequence[Any], context: Context, start: Sequence[int] = ()) -> Place:
    """Where the thing is that an expression describes.

    Args:
        operations: As pyelftools parses them.
        context: What they refer to.
        start: What is on the stack before.

    Raises:
        Unavailable: It is optimized out, or what it is computed of is.
        PageFault: It is computed of memory that is not there.
    """
    if not operations:
        raise Unavailable("optimized out")
    machine, index = _Machine(context, start), 0
    at = {operation.offset: number for number, operation in enumerate(operations)}
    try:
        for _ in range(_STEPS):
            if index >= len(operations):
                break
            operation = operations[index]
            index += 1
            name = operation.op_name.removeprefix("DW_OP_")
            if name in ("bra", "skip"):
                if name == "skip" or machine.pop():
                    index = at.get(operation.offset + 3 + operation.args[0], len(operations))
            else:
                machine.step(name, operation.args)
        if machine.pieces:
            return Place(Kind.VALUE, 0, b"".join(machine.pieces))
        return machine.place()
    except (IndexError, ValueError, OverflowError) as error:
        raise Unavailable(f"a damaged expression: {error}") from None
