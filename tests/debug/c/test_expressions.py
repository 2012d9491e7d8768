"""C expressions: parsing and arithmetic, without a machine."""

import operator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.evaluate import Evaluator
from kmod_emu.debug.c.parser import parse, parse_type
from kmod_emu.debug.c.show import Printer
from kmod_emu.debug.c.values import DebugError, Value
from kmod_emu.machine.memory import Access, PageFault

LIST = c.Aggregate("struct", "list_head", 16, lambda: (c.Field("next", c.Pointer(LIST), 0),
                                                       c.Field("prev", c.Pointer(LIST), 8)))  # fmt: skip
FLAGS = c.Aggregate(
    "struct",
    "flags",
    4,
    lambda: (c.Field("low", c.UNSIGNED_INT, 0, 0, 3), c.Field("high", c.INT, 0, 3, 5)),
)


class Bytes:
    """A little memory at 0x1000."""

    def __init__(self, size: int = 64) -> None:
        self.data = bytearray(size)

    def read(self, address: int, size: int) -> bytes:
        if not 0x1000 <= address <= 0x1000 + len(self.data) - size:
            raise PageFault(address, Access.READ)
        return bytes(self.data[address - 0x1000 : address - 0x1000 + size])

    def write(self, address: int, data: bytes) -> None:
        self.read(address, len(data))
        self.data[address - 0x1000 : address - 0x1000 + len(data)] = data


class World:
    """Two variables and two types."""

    def __init__(self) -> None:
        self.memory = Bytes()
        self.dollars: dict[str, Value] = {}

    def type_named(self, key):
        return {"struct list_head": LIST, "struct flags": FLAGS, "u8": c.Integer("u8", 1, signed=False)}.get(
            key
        )

    def variable(self, name):
        kinds = {"head": (LIST, 0x1000), "numbers": (c.Array(c.INT, 4), 0x1010), "flags": (FLAGS, 0x1020)}
        if name not in kinds:
            return None
        kind, address = kinds[name]
        return Value(kind, address=address, memory=self.memory)

    def dollar(self, name):
        return self.dollars.get(name)

    def dollar_call(self, name, arguments):
        return None

    def set_dollar(self, name, value):
        self.dollars[name] = value

    def call(self, function, arguments):
        raise DebugError("no machine")


@pytest.fixture
def world():
    return World()


def value(text: str, world: World | None = None):
    return Evaluator(world or World()).evaluate(text)


def shown(text: str, world: World) -> str:
    evaluator = Evaluator(world)
    return Printer(lambda address: "", evaluator.complete).show(evaluator.evaluate(text))


# --- arithmetic: what C says, for int ---------------------------------------------------------------------

SMALL = st.integers(-(1 << 15), 1 << 15)
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<": operator.lt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
TREES = st.recursive(
    SMALL,
    lambda inner: st.tuples(inner, st.sampled_from(sorted(OPERATORS)), inner),
    max_leaves=8,
)


def as_c(tree) -> str:
    if isinstance(tree, int):
        return f"({tree})"
    left, op, right = tree
    return f"({as_c(left)} {op} {as_c(right)})"


def wrapped(tree) -> int:
    if isinstance(tree, int):
        return tree
    left, op, right = tree
    return c.INT.cut(int(OPERATORS[op](wrapped(left), wrapped(right))))


@given(TREES)
def test_brackets_and_operators_as_in_c(tree):
    assert value(as_c(tree)).number() == wrapped(tree)


@given(SMALL, SMALL, SMALL)
def test_precedence(a, b, d):
    expected = a + b * d
    assert value(f"{a} + {b} * {d}").number() == c.INT.cut(expected)
    assert value(f"{a} - {b} - {d}").number() == a - b - d
    assert value(f"{a} < {b} == {d}").number() == int(int(a < b) == d)


@given(st.integers(-1000, 1000), st.integers(1, 50))
def test_division_is_towards_zero(a, b):
    assert value(f"{a} / {b}").number() == int(a / b)
    assert value(f"{a} % {b}").number() == a - b * int(a / b)


@given(st.text(alphabet="()[]{}*&->.x$1'\"+ =?:@,struct", max_size=20))
def test_any_text_is_a_value_or_refused(text):
    with suppress(DebugError):
        value(text)


def test_nesting_without_end_is_refused():
    with pytest.raises(DebugError, match="nested"):
        value("(" * 5000 + "1")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", "int"),
        ("1u", "unsigned int"),
        ("0xffffffff", "unsigned int"),
        ("4294967295", "long"),
        ("1UL", "unsigned long"),
        ("1 + 1L", "long"),
        ("1u + 1L", "long"),
        ("'a' + 'b'", "int"),
        ("1 + 1.0", "double"),
        ("1.5f", "float"),
        ("(u8)1", "u8"),
        ("&head", "struct list_head *"),
        ("head.next", "struct list_head *"),
        ("&head.next", "struct list_head **"),
        ("numbers", "int [4]"),
        ("numbers + 1", "int *"),
        ("&numbers[1] - &numbers[0]", "long"),
        ("numbers[0]@3", "int [3]"),
        ("(char (*)[4])0", "char (*)[4]"),
        ("(int (*)(struct list_head *, char))0", "int (*)(struct list_head *, char)"),
        ("(const char *)0", "const char *"),
    ],
)
def test_types(text, kind, world):
    assert str(value(text, world).type) == kind


def test_type_names_without_a_value(world):
    assert str(parse_type("struct list_head *[3]", world.type_named)) == "struct list_head *[3]"
    assert parse_type("head", world.type_named) is None
    assert parse("sizeof(int) * 3", world.type_named).op == "*"


# --- places ------------------------------------------------------------------------------------------------


def test_pointers_and_members(world):
    world.memory.write(0x1000, (0x1010).to_bytes(8, "little"))
    world.memory.write(0x1010, (7).to_bytes(8, "little"))
    assert value("head.next->next", world).number() == 7
    assert value("(*head.next).next", world).number() == 7
    assert value("((struct list_head *)0x1000)->next == head.next", world).number() == 1
    assert value("*(int *)0x1010", world).number() == 7
    assert value("{int} 0x1010", world).number() == 7
    assert value("&((struct list_head *)0)->prev", world).number() == 8
    with pytest.raises(DebugError, match="There is no member named nope"):
        value("head.nope", world)
    with pytest.raises(DebugError, match="Cannot access memory at address 0x7"):
        value("*head.next->next", world).content  # noqa: B018


def test_assignments(world):
    value("numbers[2] = 5", world)
    value("numbers[2] += 3", world)
    value("numbers[3] = numbers[2]++", world)
    assert shown("numbers", world) == "{0, 0, 9, 8}"
    assert value("$x = 3, $x * 2", world).number() == 6
    with pytest.raises(DebugError, match="Left operand of assignment is not an lvalue"):
        value("3 = 4", world)


def test_bit_fields(world):
    value("flags.low = 5", world)
    value("flags.high = -3", world)
    assert shown("flags", world) == "{low = 5, high = -3}"
    assert world.memory.data[0x20] == 5 | (-3 & 31) << 3
    value("flags.low = 8", world)  # cut off
    assert shown("flags", world) == "{low = 0, high = -3}"


def test_repeats_and_limits(world):
    printer = Printer(lambda address: "", lambda kind: kind)
    zeros = Value(c.Array(c.INT, 300), bytes(1200))
    assert printer.show(zeros) == "{0 <repeats 300 times>}"
    counting = Value(c.Array(c.INT, 300), b"".join(n.to_bytes(4, "little") for n in range(300)))
    assert printer.show(counting).endswith("198, 199...}")
    assert printer.show(counting).startswith("{0, 1, 2")
    text = Value(c.Array(c.CHAR, 8), b"ab\0\0\0\0\0\0")
    assert printer.show(text) == r'"ab\000\000\000\000\000"'
    assert printer.show(Value(c.Array(c.CHAR, 4), b'"\\\n\xff')) == r'"\"\\\n\377"'
    printer.pretty = True
    assert printer.show(Value(FLAGS, bytes(4))) == "{\n  low = 0,\n  high = 0\n}"


def test_enumerations():
    printer = Printer(lambda address: "", lambda kind: kind)
    states = c.Enum("state", 4, {"A": 0, "B": 1, "C": 2, "D": 3}, signed=False)
    flags = c.Enum("flag", 4, {"R": 1, "W": 2, "X": 4}, signed=False)
    numbers = (1).to_bytes(4, "little"), (6).to_bytes(4, "little"), (9).to_bytes(4, "little")
    assert [printer.show(Value(states, n)) for n in numbers] == ["B", "6", "9"]
    assert [printer.show(Value(flags, n)) for n in numbers] == ["R", "(W | X)", "(R | unknown: 0x8)"]
