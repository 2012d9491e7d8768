"""C expressions on a stopped machine, evaluated as gdb does."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Protocol

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.parser import Node, parse
from kmod_emu.debug.c.values import DebugError, MemoryAccess, Value, encode, number_type

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Environment", "Evaluator", "void"]

_MASK = (1 << 64) - 1


class Environment(Protocol):
    """What names mean where the machine stopped."""

    @property
    def memory(self) -> MemoryAccess:
        """Guest memory."""

    def type_named(self, key: str) -> c.CType | None:
        """A type by "struct file" or "size_t"."""

    def variable(self, name: str) -> Value | None:
        """A local or global variable, a function, a constant, a symbol."""

    def dollar(self, name: str) -> Value | None:
        """A register, or a value of the history, by what stands behind its `$`; None if it is neither."""

    def dollar_call(self, name: str, arguments: list[Value]) -> Value | None:
        """A convenience function, `$lx_module("hello")`; None if there is none of that name."""

    def set_dollar(self, name: str, value: Value) -> None:
        """Set a convenience variable."""

    def call(self, function: Value, arguments: list[Value]) -> Value:
        """Call a guest function."""


def void() -> Value:
    """No value, as of a convenience variable that was never set."""
    return Value(c.VOID, b"\0")


def _divide(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": lambda left, right: left << min(right, 64) if right >= 0 else 0,
    ">>": lambda left, right: left >> right if right >= 0 else 0,
    "/": _divide,
    "%": lambda left, right: left - right * _divide(left, right),
}
_REAL: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class Evaluator:
    """Evaluates expressions in an environment."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def evaluate(self, text: str) -> Value:
        """The value of an expression.

        Raises:
            DebugError: It is none, or cannot be computed.
        """
        return self.value(parse(text, self.type_named))

    def type_named(self, key: str) -> c.CType | None:
        """A type by a name in an expression: one that is defined somewhere, and that no variable hides."""
        if " " not in key and self.environment.variable(key) is not None:
            return None
        found = self.environment.type_named(key)
        return None if isinstance(found, c.Aggregate) and not found.complete else found

    def value(self, node: Node) -> Value:
        """The value of a part."""
        op = node.op
        if op in _ATOMS:
            return _ATOMS[op](self, node)
        if op in ("&&", "||"):
            left = self.truth(node.parts[0])
            short = left if op == "||" else not left
            return Value.of(c.INT, int(left if short else self.truth(node.parts[1])))
        if op == "?":
            return self.value(node.parts[1 if self.truth(node.parts[0]) else 2])
        if op == ",":
            self.value(node.parts[0])
            return self.value(node.parts[1])
        if op == "=":
            return self.assign(node.parts[0], self.value(node.parts[1]))
        if op.endswith("=") and op not in _COMPARE:
            return self.assign(node.parts[0], self.binary(op[:-1], *map(self.value, node.parts)))
        return self.binary(op, *map(self.value, node.parts))

    def truth(self, node: Node) -> bool:
        """Whether a condition holds."""
        return bool(self.value(node).number())

    # --- atoms ----------------------------------------------------------------------------------------

    def _number(self, node: Node) -> Value:
        assert node.type is not None
        return Value.of(node.type, node.number)

    def _string(self, node: Node) -> Value:
        data = node.data + b"\0"
        return Value(c.Array(c.CHAR, len(data)), data)

    def _array(self, node: Node) -> Value:
        parts = [self.value(part) for part in node.parts]
        if any(part.type.size != parts[0].type.size for part in parts):
            raise DebugError("array elements must all be the same size")
        return Value(c.Array(parts[0].type, len(parts)), b"".join(part.content for part in parts))

    def _name(self, node: Node) -> Value:
        found = self.environment.variable(node.text)
        if found is None:
            raise DebugError(f'No symbol "{node.text}" in current context.')
        return found

    def _dollar(self, node: Node) -> Value:
        return self.environment.dollar(node.text) or void()

    def _type(self, node: Node) -> Value:
        raise DebugError("Attempt to use a type name as an expression")

    def _sizeof(self, node: Node) -> Value:
        inner = node.parts[0]
        if inner.op == "type" and inner.type is not None:
            return Value.of(c.INT, self.complete(inner.type).size)  # gdb's type, not C's
        return Value.of(c.UNSIGNED_LONG, self.complete(self.value(inner).type).size)

    def _cast(self, node: Node) -> Value:
        assert node.type is not None
        return self.cast(self.value(node.parts[0]), node.type)

    def _at(self, node: Node) -> Value:
        assert node.type is not None
        address = self.value(node.parts[0]).integer() & _MASK
        return Value(self.complete(node.type), address=address, memory=self.environment.memory)

    def _call(self, node: Node) -> Value:
        if node.parts[0].op == "variable":
            arguments = [self.value(part) for part in node.parts[1:]]
            found = self.environment.dollar_call(node.parts[0].text, arguments)
            if found is None:
                raise DebugError(
                    f"You must provide an argument to ${node.parts[0].text}, or it is no function."
                )
            return found
        return self.environment.call(self.value(node.parts[0]), [self.value(part) for part in node.parts[1:]])

    def _index(self, node: Node) -> Value:
        whole, index = self.value(node.parts[0]), self.value(node.parts[1])
        if isinstance(whole.bare, c.Array) and whole.address is None:
            return whole.element(index.integer())
        if not isinstance(whole.bare, (c.Array, c.Pointer)):
            raise DebugError("cannot subscript something of type `" + str(whole.type) + "'")
        return self.indirect(self.binary("+", whole, index))

    def _member(self, node: Node) -> Value:
        whole = self.value(node.parts[0])
        if isinstance(whole.bare, c.Pointer):  # gdb takes either operator for either
            whole = whole.target()
        kind = self.complete(whole.type)
        if not isinstance(kind, c.Aggregate):
            what = "component of a value that is not a structure"
            raise DebugError(f"Attempt to extract a {what}{' pointer' if node.op == '->' else ''}.")
        field = kind.find(node.text)
        if field is None:
            raise DebugError(f"There is no member named {node.text}.")
        return whole.select(field)

    def _indirect(self, node: Node) -> Value:
        return self.indirect(self.value(node.parts[0]))

    def indirect(self, pointer: Value) -> Value:
        """`*pointer`."""
        pointer.memory = pointer.memory or self.environment.memory
        found = pointer.target()
        if isinstance(found.bare, c.Void):
            raise DebugError("Attempt to take contents of a non-pointer value.")
        complete = self.complete(found.type)
        if isinstance(complete, c.Aggregate) and found.bare is not complete:
            return Value(complete, address=found.address, memory=found.memory)
        return found

    def _address(self, node: Node) -> Value:
        value = self.value(node.parts[0])
        if value.register and node.parts[0].op == "name":
            what = f'"{node.parts[0].text}" which is in register ${value.register}'
            raise DebugError(f"Address requested for identifier {what}")
        if value.address is None or (value.field is not None and value.field.bits):
            raise DebugError("Attempt to take address of value not located in memory.")
        return Value(
            c.Pointer(value.type), encode(c.UNSIGNED_LONG, value.address), memory=self.environment.memory
        )

    def _negate(self, node: Node) -> Value:
        value = self.promoted(self.value(node.parts[0]))
        return Value.of(value.type, -value.number() if node.op == "-x" else value.number())

    def _invert(self, node: Node) -> Value:
        value = self.promoted(self.value(node.parts[0]))
        if isinstance(value.type, c.Float):
            raise DebugError("Argument to complement operation not an integer, boolean.")
        return Value.of(value.type, ~value.integer())

    def _not(self, node: Node) -> Value:
        return Value.of(c.INT, int(not self.truth(node.parts[0])))

    def _step(self, node: Node) -> Value:
        before, after = node.op[0] == "x", "+" if "+" in node.op else "-"
        old = self.value(node.parts[0])
        old = Value(old.type, old.content, memory=old.memory) if before else old
        new = self.assign(node.parts[0], self.binary(after, self.value(node.parts[0]), Value.of(c.INT, 1)))
        return old if before else new

    # --- operators ------------------------------------------------------------------------------------

    def assign(self, left: Node, value: Value) -> Value:
        """Give a place a value."""
        if left.op == "variable":
            place = self.environment.dollar(left.text)
            if place is None or not place.is_lvalue:
                self.environment.set_dollar(left.text, value)
                return value
        else:
            place = self.value(left)
        if not place.is_lvalue:
            raise DebugError("Left operand of assignment is not an lvalue.")
        place.store(self.cast(value, place.type).content)
        return place

    def cast(self, value: Value, kind: c.CType) -> Value:
        """A value as another type.

        Raises:
            DebugError: There is no such conversion.
        """
        bare = self.complete(kind)
        if isinstance(value.bare, c.Unknown):  # its type is what the user says
            return Value(kind, address=value.address, memory=value.memory)
        if isinstance(bare, c.Void):
            return void()
        if isinstance(bare, c.Aggregate):
            if isinstance(value.bare, c.Aggregate) and value.bare.size == bare.size:
                return Value(kind, value.content, address=value.address, memory=value.memory)
            raise DebugError("Invalid cast.")
        if isinstance(bare, (c.Array, c.Function)):
            if value.address is None:
                raise DebugError("Invalid cast.")
            return Value(kind, address=value.address, memory=value.memory)
        number = value.number()
        if isinstance(bare, c.Pointer):
            number = int(number) & _MASK
        return Value(kind, encode(kind, number), memory=self.environment.memory)

    def complete(self, kind: c.CType) -> c.CType:
        """A type without typedefs and qualifiers; where it is only declared, as another file defines it."""
        bare = kind.bare
        if isinstance(bare, c.Aggregate) and not bare.complete:
            return self.environment.type_named(f"{bare.keyword} {bare.tag}") or bare
        return bare

    def promoted(self, value: Value) -> Value:
        """A number as arithmetic takes it: at least an int."""
        kind = number_type(value.type)
        if kind is None:
            if isinstance(value.bare, c.Pointer):
                return Value.of(c.LONG, value.integer())
            raise DebugError("Argument to arithmetic operation not a number or boolean.")
        if isinstance(kind, c.Integer) and kind.size < c.INT.size:
            kind = c.INT
        return Value.of(kind, value.number())

    def binary(self, op: str, left: Value, right: Value) -> Value:
        """An operator on two values."""
        if op == "@":
            return self._repeat(left, right)
        for value in (left, right):
            if isinstance(value.bare, c.Void) or (isinstance(value.bare, c.Aggregate) and op not in _COMPARE):
                raise DebugError("Argument to arithmetic operation not a number or boolean.")
        if op in _COMPARE:
            return Value.of(c.INT, int(_COMPARE[op](*self._compared(left, right))))
        pointers = [_decayed(value) for value in (left, right)]
        if op in ("+", "-") and any(pointers):
            return self._pointer_arithmetic(op, left, right, *pointers)
        kind = self._common_type(left, right)
        if isinstance(kind, c.Float):
            if op not in _REAL:
                raise DebugError("Integer only operation on a floating-point number.")
            if op == "/" and not right.number():
                raise DebugError("Division by zero")
            return Value.of(kind, _REAL[op](left.number(), right.number()))
        if op in ("<<", ">>"):
            promoted = self.promoted(left)
            return Value.of(promoted.type, _INTEGER[op](promoted.integer(), right.integer()))
        a, b = kind.cut(left.integer()), kind.cut(right.integer())
        if op in ("/", "%") and not b:
            raise DebugError("Division by zero")
        return Value.of(kind, _INTEGER[op](a, b))

    def _compared(self, left: Value, right: Value) -> tuple[float, float]:
        """Two values as numbers that can be compared."""
        bares = left.bare, right.bare
        if any(isinstance(bare, c.Aggregate) for bare in bares):
            raise DebugError("invalid type combination in equality test.")
        if any(isinstance(bare, (c.Pointer, c.Array, c.Function)) for bare in bares):
            return left.integer() & _MASK, right.integer() & _MASK
        kind = self._common_type(left, right)
        if isinstance(kind, c.Float):
            return left.number(), right.number()
        return kind.cut(left.integer()), kind.cut(right.integer())

    def _common_type(self, left: Value, right: Value) -> c.Integer | c.Float:
        """The usual arithmetic conversions."""
        kinds = [self.promoted(value).type for value in (left, right)]
        for kind in kinds:
            if isinstance(kind, c.Float):
                return c.DOUBLE
        integers = [kind for kind in kinds if isinstance(kind, c.Integer)]
        size = max(kind.size for kind in integers)
        widest = [kind for kind in integers if kind.size == size]
        return next((kind for kind in widest if not kind.signed), widest[0])

    def _pointer_arithmetic(
        self, op: str, left: Value, right: Value, left_target: c.CType | None, right_target: c.CType | None
    ) -> Value:
        if left_target is not None and right_target is not None:
            if op == "+":
                raise DebugError("Argument to arithmetic operation not a number or boolean.")
            size = self._step_of(left_target)
            if size != self._step_of(right_target):
                raise DebugError(
                    "First argument of `-' is a pointer and second argument is neither\n"
                    "an integer nor a pointer of the same type."
                )
            return Value.of(c.LONG, _divide(left.integer() - right.integer(), size))
        if left_target is None:
            if op == "-":
                raise DebugError("Argument to arithmetic operation not a number or boolean.")
            left, right, left_target = right, left, right_target
        assert left_target is not None
        change = right.integer() * self._step_of(left_target)
        address = left.integer() + (change if op == "+" else -change)
        kind = left.type if isinstance(left.bare, c.Pointer) else c.Pointer(left_target)
        return Value(kind, encode(c.UNSIGNED_LONG, address), memory=self.environment.memory)

    def _step_of(self, target: c.CType) -> int:
        return self.complete(target).size or 1

    def _repeat(self, first: Value, count: Value) -> Value:
        if first.address is None:
            raise DebugError("Only values in memory can be extended with '@'.")
        if count.integer() < 1:
            raise DebugError(f"Invalid number {count.integer()} of repetitions.")
        kind = c.Array(first.type, count.integer())
        return Value(kind, address=first.address, memory=first.memory)


def _decayed(value: Value) -> c.CType | None:
    """What a pointer, or an array or function as one, points to; None for others."""
    bare = value.bare
    if isinstance(bare, c.Pointer):
        return bare.target
    if isinstance(bare, c.Array) and value.address is not None:
        return bare.element
    return value.type if isinstance(bare, c.Function) else None


_ATOMS: dict[str, Callable[[Evaluator, Node], Value]] = {
    "number": Evaluator._number,
    "string": Evaluator._string,
    "array": Evaluator._array,
    "name": Evaluator._name,
    "variable": Evaluator._dollar,
    "type": Evaluator._type,
    "sizeof": Evaluator._sizeof,
    "_Alignof": Evaluator._sizeof,
    "cast": Evaluator._cast,
    "at": Evaluator._at,
    "call": Evaluator._call,
    "index": Evaluator._index,
    ".": Evaluator._member,
    "->": Evaluator._member,
    "*x": Evaluator._indirect,
    "&x": Evaluator._address,
    "-x": Evaluator._negate,
    "+x": Evaluator._negate,
    "~x": Evaluator._invert,
    "!x": Evaluator._not,
    "++x": Evaluator._step,
    "--x": Evaluator._step,
    "x++": Evaluator._step,
    "x--": Evaluator._step,
}
