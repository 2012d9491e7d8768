"""C types as a debugger needs them: complete, with names, so that they can be printed and walked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "BOOL",
    "CHAR",
    "DOUBLE",
    "FLOAT",
    "INT",
    "LONG",
    "POINTER_SIZE",
    "UNSIGNED_INT",
    "UNSIGNED_LONG",
    "VOID",
    "Aggregate",
    "Array",
    "CType",
    "Enum",
    "Field",
    "Float",
    "Function",
    "Integer",
    "Pointer",
    "Qualified",
    "Typedef",
    "Unknown",
    "Void",
    "definition",
    "integer_named",
]

POINTER_SIZE = 8


class CType:
    """A type. `str()` gives it in C, as gdb spaces it.

    Attributes:
        size: Bytes; 0 where it has none.
    """

    size = 0

    @property
    def bare(self) -> CType:
        """What it is behind typedefs and qualifiers."""
        return self

    def declare(self, inner: str) -> str:
        """The declaration of `inner`, a name with its stars and brackets."""
        return f"{self.name} {inner}" if inner else self.name

    @property
    def name(self) -> str:
        """The word or words of the type, for those that have some."""
        return "void"

    def __str__(self) -> str:
        return self.declare("")


class Void(CType):
    """No value."""

    size = 1  # as GNU C has it


class Unknown(CType):
    """The type of a variable without debug information."""

    @property
    def name(self) -> str:
        """As gdb says it."""
        return "<data variable, no debug info>"


class Integer(CType):
    """An integer.

    Attributes:
        kind: "int", "char" (printed as a character too) or "bool".
    """

    def __init__(self, name: str, size: int, *, signed: bool, kind: str = "int") -> None:
        self._name, self.size, self.signed, self.kind = name, size, signed, kind

    @property
    def name(self) -> str:
        """As the compiler writes it."""
        return self._name

    def cut(self, value: int) -> int:
        """A number as this type holds it.

        >>> CHAR.cut(200)
        -56
        """
        if self.kind == "bool":
            return int(value != 0)
        bits = 8 * self.size
        value &= (1 << bits) - 1
        return value - (1 << bits) if self.signed and value >> (bits - 1) else value


class Float(CType):
    """A floating-point number."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self.size = name, size

    @property
    def name(self) -> str:
        """As the compiler writes it."""
        return self._name


class Pointer(CType):
    """An address."""

    size = POINTER_SIZE

    def __init__(self, target: CType, qualifiers: str = "") -> None:
        self.target, self.qualifiers = target, qualifiers

    def declare(self, inner: str) -> str:
        """The declaration of `inner`.

        >>> Pointer(Array(CHAR, 4)).declare("p")
        'char (*p)[4]'
        """
        gap = " " if self.qualifiers and inner else ""
        inner = f"*{' ' if self.qualifiers else ''}{self.qualifiers}{gap}{inner}"
        if isinstance(self.target, (Array, Function)):
            inner = f"({inner})"
        return self.target.declare(inner)


class Array(CType):
    """Elements in a row; `count` is None for `[]`."""

    def __init__(self, element: CType, count: int | None) -> None:
        self.element, self.count = element, count
        self.size = element.size * (count or 0)

    def declare(self, inner: str) -> str:
        """The declaration of `inner`.

        >>> str(Array(CHAR, 256))
        'char [256]'
        """
        count = "" if self.count is None else str(self.count)
        return self.element.declare(f"{inner}[{count}]")


class Function(CType):
    """A function; `parameters` is None where it has no prototype."""

    size = 1

    def __init__(self, returns: CType, parameters: Sequence[CType] | None, *, variadic: bool = False) -> None:
        self.returns, self.parameters, self.variadic = returns, parameters, variadic

    def declare(self, inner: str) -> str:
        """The declaration of `inner`.

        >>> Function(INT, []).declare("main")
        'int main(void)'
        """
        words = [str(parameter) for parameter in self.parameters or ()]
        if self.variadic:
            words.append("...")
        if not words and self.parameters is not None:
            words = ["void"]
        return self.returns.declare(f"{inner or ' '}({', '.join(words)})").replace("  (", " (")


class Field(NamedTuple):
    """A member of a structure.

    Attributes:
        offset: Bytes from its start; of a bit-field, of the storage unit.
        bit: A bit-field's lowest bit in that unit.
        bits: A bit-field's width, 0 for an ordinary member.
    """

    name: str
    type: CType
    offset: int
    bit: int = 0
    bits: int = 0


class Aggregate(CType):
    """A struct or union.

    Args:
        keyword: "struct" or "union".
        tag: "" for one without name.
        size: Bytes; None if it is only declared.
        members: Called when its fields are first asked for.
    """

    def __init__(
        self, keyword: str, tag: str, size: int | None, members: Callable[[], Sequence[Field]] = tuple
    ) -> None:
        self.keyword, self.tag, self._members = keyword, tag, members
        self.size, self.complete = size or 0, size is not None
        self._fields: Sequence[Field] | None = None

    @property
    def name(self) -> str:
        """`struct file`; `struct {...}` without a tag."""
        return f"{self.keyword} {self.tag or '{...}'}"

    @property
    def fields(self) -> Sequence[Field]:
        """Its members in order."""
        if self._fields is None:
            self._fields = self._members()
        return self._fields

    def find(self, name: str) -> Field | None:
        """A member by name, in nameless inner structures too; its offset is from our start."""
        for field in self.fields:
            if field.name == name:
                return field
            inner = field.type.bare
            if not field.name and isinstance(inner, Aggregate) and (found := inner.find(name)):
                return found._replace(offset=found.offset + field.offset)
        return None


class Enum(CType):
    """An enumeration: `values` by name, in order."""

    def __init__(self, tag: str, size: int, values: Mapping[str, int], *, signed: bool) -> None:
        self.tag, self.size, self.values, self.signed = tag, size, values, signed

    @property
    def name(self) -> str:
        """`enum module_state`."""
        return f"enum {self.tag or '{...}'}"

    @property
    def integer(self) -> Integer:
        """What holds its values."""
        return Integer(self.name, self.size, signed=self.signed)

    @property
    def is_flags(self) -> bool:
        """Whether each value is some bits of its own, as gdb decides it."""
        seen = 0
        for value in self.values.values():
            if value < 0 or value & seen or (value.bit_count() > 1 and value & (value >> 1) == 0):
                return False
            seen |= value
        return True


class Qualified(CType):
    """`const` and the like."""

    def __init__(self, qualifier: str, target: CType) -> None:
        self.qualifier, self.target, self.size = qualifier, target, target.size

    @property
    def bare(self) -> CType:
        """The type that is qualified."""
        return self.target.bare

    def declare(self, inner: str) -> str:
        """The declaration of `inner`.

        >>> str(Qualified("const", Pointer(CHAR))), str(Pointer(Qualified("const", CHAR)))
        ('char * const', 'const char *')
        """
        target, words = self.target, [self.qualifier]
        while isinstance(target, Qualified):
            words.append(target.qualifier)
            target = target.target
        words.sort()
        if isinstance(target, Pointer):
            return Pointer(target.target, " ".join(words)).declare(inner)
        if isinstance(target, Array):
            return Array(Qualified(self.qualifier, target.element), target.count).declare(inner)
        return f"{' '.join(words)} {target.declare(inner)}"


class Typedef(CType):
    """Another name."""

    def __init__(self, name: str, target: CType) -> None:
        self._name, self.target, self.size = name, target, target.size

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @property
    def bare(self) -> CType:
        """What it stands for."""
        return self.target.bare


VOID = Void()
CHAR = Integer("char", 1, signed=True, kind="char")
BOOL = Integer("_Bool", 1, signed=False, kind="bool")
INT = Integer("int", 4, signed=True)
UNSIGNED_INT = Integer("unsigned int", 4, signed=False)
LONG = Integer("long", 8, signed=True)
UNSIGNED_LONG = Integer("unsigned long", 8, signed=False)
FLOAT, DOUBLE = Float("float", 4), Float("double", 8)

_WORDS = {"char", "short", "int", "long", "signed", "unsigned"}


def integer_named(words: Sequence[str]) -> CType | None:
    """A basic type by its words in any order.

    >>> str(integer_named(["long", "unsigned", "int"]))
    'unsigned long'
    """
    joined = " ".join(words)
    plain = {"void": VOID, "_Bool": BOOL, "float": FLOAT, "double": DOUBLE}.get(joined)
    if plain is not None:
        return plain
    if not words or not _WORDS.issuperset(words):
        return None
    signed = "unsigned" not in words
    prefix = "" if signed else "unsigned "
    if "char" in words:
        name = "signed char" if "signed" in words else f"{prefix}char"
        return Integer(name, 1, signed=signed, kind="char")
    if "short" in words:
        return Integer(f"{prefix}short", 2, signed=signed)
    longs = words.count("long")
    if longs:
        return Integer(f"{prefix}{' '.join(['long'] * min(longs, 2))}", 8, signed=signed)
    return Integer(f"{prefix}int", 4, signed=signed)


def definition(kind: CType, indent: str = "") -> str:
    """A type as `ptype` prints it: one level of typedefs resolved, members a line each."""
    qualifiers, target = "", kind
    while isinstance(target, (Qualified, Typedef)):
        if isinstance(target, Qualified):
            qualifiers += f"{target.qualifier} "
        target = target.target
    return qualifiers + "".join(_definition(target, indent))


def _definition(kind: CType, indent: str) -> Iterator[str]:
    if isinstance(kind, Pointer):
        inner = kind.target.bare
        if isinstance(inner, (Aggregate, Enum)):
            yield f"{definition(kind.target, indent)} *"
        else:
            yield str(Pointer(_resolved(kind.target)))
    elif isinstance(kind, Enum):
        yield f"{kind.name.removesuffix(' {...}')} {{{', '.join(_enumerators(kind))}}}"
    elif isinstance(kind, Aggregate):
        yield f"{kind.keyword} {kind.tag + ' ' if kind.tag else ''}{{\n"
        if not kind.complete:
            yield f"{indent}    <incomplete type>\n"
        elif not kind.fields:
            yield f"{indent}    <no data fields>\n"
        for field in kind.fields:
            yield f"{indent}    {_member(field, indent)};\n"
        yield f"{indent}}}"
    else:
        yield str(_resolved(kind))


def _member(field: Field, indent: str) -> str:
    inner = field.type
    if isinstance(inner, Aggregate) and not inner.tag:
        shown = f"{inner.keyword} {{...}}" if len(indent) >= 4 else definition(inner, f"{indent}    ")
        return f"{shown} {field.name}".rstrip()
    text = field.type.declare(field.name)
    return f"{text} : {field.bits}" if field.bits else text


def _enumerators(kind: Enum) -> Iterator[str]:
    following = 0
    for name, value in kind.values.items():
        yield name if value == following else f"{name} = {value}"
        following = value + 1


def _resolved(kind: CType) -> CType:
    """A type without its outer typedefs."""
    if isinstance(kind, Typedef):
        return _resolved(kind.target)
    if isinstance(kind, Function):
        return Function(_resolved(kind.returns), kind.parameters, variadic=kind.variadic)
    if isinstance(kind, Array):
        return Array(_resolved(kind.element), kind.count)
    if isinstance(kind, Pointer) and not kind.qualifiers:
        return Pointer(_resolved(kind.target))
    return kind
