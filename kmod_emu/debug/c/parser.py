"""C expressions and type names: a Pratt parser, with gdb's additions (`$rax`, `arr[0]@5`, `{int} addr`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.lexer import Token, tokenize, unescape
from kmod_emu.debug.c.values import DebugError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Node", "parse", "parse_prototype", "parse_type"]

_MAX_DEPTH = 100

# Operator -> how tightly it binds; assignments and ?: bind to the right.
_BINARY = {
    ",": 1,
    **dict.fromkeys(("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="), 2),
    "?": 3,
    "||": 4,
    "&&": 5,
    "|": 6,
    "^": 7,
    "&": 8,
    **dict.fromkeys(("==", "!="), 9),
    **dict.fromkeys(("<", ">", "<=", ">="), 10),
    "@": 11,
    **dict.fromkeys(("<<", ">>"), 12),
    **dict.fromkeys(("+", "-"), 13),
    **dict.fromkeys(("*", "/", "%"), 14),
}
_TO_THE_RIGHT = {2, 3}
_UNARY = 15
_PREFIXES = ("-", "+", "!", "~", "*", "&", "++", "--")
_TAGS = ("struct", "union", "enum")
_QUALIFIERS = ("const", "volatile", "restrict", "__user", "__iomem", "__percpu", "__rcu")
_BASIC = ("char", "short", "int", "long", "signed", "unsigned", "void", "float", "double", "_Bool")
_INTEGERS = (  # a literal is of the first type that holds it
    c.INT,
    c.UNSIGNED_INT,
    c.LONG,
    c.UNSIGNED_LONG,
)


class Node(NamedTuple):
    """A part of an expression.

    Attributes:
        op: The operator, or "number", "string", "name", "variable", "cast", "type", "sizeof", "call" and
            so on.
        text: A name.
        parts: What it applies to.
        type: The type that it names, or that a number has.
        number: Its value.
        data: A string's bytes.
    """

    op: str
    parts: tuple[Node, ...] = ()
    text: str = ""
    type: c.CType | None = None
    number: float = 0
    data: bytes = b""


class _Parser:
    """One text.

    Args:
        text: The expression.
        named: Types by "struct file" or "size_t"; None for what is none.
    """

    def __init__(self, text: str, named: Callable[[str], c.CType | None]) -> None:
        self.text, self.named = text, named
        self.tokens = tokenize(text)
        self.place = self.depth = 0
        self.declares = False  # types come with the names of what they declare
        self.declared: list[str] = []

    # --- words ----------------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.place += 1
        return token

    def accept(self, *texts: str) -> bool:
        if self.token.kind in ("operator", "name") and self.token.text in texts:
            self.place += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.wrong()

    def wrong(self) -> DebugError:
        return DebugError(f"A syntax error in expression, near `{self.text[self.token.start :]}'.")

    # --- expressions ----------------------------------------------------------------------------------

    def expression(self, binding: int = 0) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise DebugError("The expression is nested too deeply.")
        left = self.postfix(self.prefix())
        while self.token.kind == "operator" and (level := _BINARY.get(self.token.text, 0)) > binding:
            operator = self.take().text
            if operator == "?":
                middle = self.expression()
                self.expect(":")
                left = Node("?", (left, middle, self.expression(level - 1)))
                continue
            right = self.expression(level - 1 if level in _TO_THE_RIGHT else level)
            left = Node(operator, (left, right))
        self.depth -= 1
        return left

    def prefix(self) -> Node:
        token = self.token
        if token.kind == "operator":
            return self.operator()
        kind = self.type_name()
        if kind is not None:
            return Node("type", type=kind)
        self.take()
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "float":
            kind = c.FLOAT if token.text[-1] in "fF" else c.DOUBLE
            return Node("number", type=kind, number=float(token.text.rstrip("fFlL")))
        if token.kind == "char":
            return _character(token.text)
        if token.kind == "string":
            data = unescape(token.text[1:-1])
            while self.token.kind == "string":
                data += unescape(self.take().text[1:-1])
            return Node("string", data=data)
        if token.kind == "name":
            if token.text in ("sizeof", "_Alignof"):
                return Node(token.text, (self.sized(),))
            return Node("name", text=token.text)
        if token.kind == "variable":
            return Node("variable", text=token.text[1:])
        raise self.wrong()

    def operator(self) -> Node:
        if self.accept("("):
            kind = self.type_name()
            if kind is not None and self.accept(")"):
                if self.begins_operand():
                    return Node("cast", (self.operand(),), type=kind)
                return Node("type", type=kind)
            if kind is not None:
                raise self.wrong()
            inner = self.expression()
            self.expect(")")
            return inner
        if self.accept("{"):
            kind = self.type_name()
            if kind is not None:
                self.expect("}")
                return Node("at", (self.operand(),), type=kind)
            parts = [self.expression(1)]
            while self.accept(","):
                parts.append(self.expression(1))
            self.expect("}")
            return Node("array", tuple(parts))
        if self.token.text in _PREFIXES:
            return Node(f"{self.take().text}x", (self.operand(),))
        raise self.wrong()

    def operand(self) -> Node:
        """What a prefix applies to."""
        return self.expression(_UNARY)

    def sized(self) -> Node:
        """What sizeof applies to: a type in brackets is no cast."""
        before = self.place
        if self.accept("("):
            kind = self.type_name()
            if kind is not None and self.accept(")"):
                return Node("type", type=kind)
        self.place = before
        return self.operand()

    def begins_operand(self) -> bool:
        """Whether something to cast follows a type in brackets."""
        token = self.token
        return token.kind not in ("operator", "end") or token.text in ("(", "{", *_PREFIXES)

    def postfix(self, node: Node) -> Node:
        while True:
            if self.accept("["):
                node = Node("index", (node, self.expression()))
                self.expect("]")
            elif self.accept("("):
                node = Node("call", (node, *self.arguments()))
            elif self.token.text in (".", "->") and self.token.kind == "operator":
                operator = self.take().text
                if self.token.kind != "name":
                    raise self.wrong()
                node = Node(operator, (node,), text=self.take().text)
            elif self.token.text in ("++", "--") and self.token.kind == "operator":
                node = Node(f"x{self.take().text}", (node,))
            else:
                return node

    def arguments(self) -> list[Node]:
        if self.accept(")"):
            return []
        found = [self.expression(1)]
        while self.accept(","):
            found.append(self.expression(1))
        self.expect(")")
        return found

    # --- types ----------------------------------------------------------------------------------------

    def type_name(self) -> c.CType | None:
        """A type's name with its stars and brackets; None, and nothing is taken, where none begins."""
        if self.token.kind != "name":
            return None
        before = self.place
        base = self.base_type()
        if base is None:
            self.place = before
            return None
        return self.declarator(base)

    def base_type(self) -> c.CType | None:
        words: list[str] = []
        qualifiers: list[str] = []
        found: c.CType | None = None
        while self.token.kind == "name":
            word = self.token.text
            if word in _QUALIFIERS:
                qualifiers.append(word)
            elif word in _BASIC and found is None:
                words.append(word)
            elif words or found is not None or (found := self.named_type(word)) is None:
                break
            self.take()
        if words:
            found = c.integer_named(words)
        if found is None:
            if words or qualifiers:
                raise self.wrong()
            return None
        for qualifier in reversed(qualifiers):
            if not qualifier.startswith("__"):
                found = c.Qualified(qualifier, found)
        return found

    def named_type(self, word: str) -> c.CType | None:
        """A structure, the word of its kind being taken but its tag, or a typedef."""
        if word not in _TAGS:
            return self.named(word)
        self.take()
        if self.token.kind != "name":
            raise self.wrong()
        found = self.named(f"{word} {self.token.text}")
        if found is None:
            raise DebugError(f"No {word} type named {self.token.text}.")
        return found

    def declarator(self, base: c.CType) -> c.CType:
        """Stars, brackets and parameters behind a type."""
        while True:
            if self.accept("*"):
                base = c.Pointer(base)
            elif self.accept("const", "volatile"):
                base = c.Qualified(self.tokens[self.place - 1].text, base)
            elif not self.accept(*_QUALIFIERS):
                break
        if self.declares and self.token.kind == "name":
            self.declared.append(self.take().text)
        if self.token.text == "(" and self.tokens[self.place + 1].text in ("*", "("):
            self.take()
            inner = self.place
            self._skip_brackets()
            base = self._suffixes(base)
            end, self.place = self.place, inner
            base = self.declarator(base)
            self.expect(")")
            self.place = end
            return base
        return self._suffixes(base)

    def _skip_brackets(self) -> None:
        level = 1
        while level:
            token = self.take()
            if token.kind == "end":
                raise self.wrong()
            level += (token.text == "(") - (token.text == ")")

    def _suffixes(self, base: c.CType) -> c.CType:
        if self.token.text == "[":
            counts: list[int | None] = []
            while self.accept("["):
                counts.append(None)
                if self.token.kind == "number":
                    counts[-1] = int(_number(self.take().text).number)
                self.expect("]")
            for count in reversed(counts):
                base = c.Array(base, count)
        elif self.token.text == "(" and self.token.kind == "operator":
            before = self.place
            self.take()
            parameters: list[c.CType] = []
            variadic = False
            while not self.accept(")"):
                if self.accept("."):
                    variadic = True
                    continue
                kind = self.type_name()
                if kind is None:  # `int (5)`: a cast's operand
                    self.place = before
                    return base
                parameters.append(kind)
                self.accept(",")
            prototype = [] if parameters and parameters[0] is c.VOID else parameters
            base = c.Function(base, prototype, variadic=variadic)
        return base


def _number(text: str) -> Node:
    """An integer literal.

    >>> str(_number("0x80000000").type), _number("010").number
    ('unsigned int', 8)
    """
    digits = text.rstrip("uUlL")
    suffix = text[len(digits) :].lower()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbB"
    try:
        value = int(digits, 8 if octal else 0)
    except ValueError:
        raise DebugError(f'Invalid number "{text}".') from None
    if value >> 64 or suffix not in ("", "u", "l", "ul", "lu", "ll", "ull", "llu"):
        raise DebugError("Numeric constant too large." if value >> 64 else f'Invalid number "{text}".')
    decimal = digits.isdigit() and not octal
    for kind in _INTEGERS:
        wide_enough = kind.size == 8 or "l" not in suffix
        sign_fits = not kind.signed if "u" in suffix else kind.signed or not decimal or kind.size == 8
        if wide_enough and sign_fits and kind.cut(value) == value:
            return Node("number", type=kind, number=value)
    return Node("number", type=c.UNSIGNED_LONG, number=value)


def _character(text: str) -> Node:
    data = unescape(text[1:-1])
    if len(data) == 1:
        return Node("number", type=c.CHAR, number=c.CHAR.cut(data[0]))
    if not data:
        raise DebugError("Empty character constant.")
    return Node("name", text=text[1:-1])  # gdb's way to quote a name


def parse(text: str, named: Callable[[str], c.CType | None]) -> Node:
    """The tree of an expression.

    Args:
        text: C, with gdb's additions.
        named: Types by "struct file" or "size_t"; None for what is none.

    Raises:
        DebugError: It is none.
    """
    parser = _Parser(text, named)
    node = parser.expression()
    if parser.token.kind != "end":
        raise parser.wrong()
    return node


def parse_type(text: str, named: Callable[[str], c.CType | None]) -> c.CType | None:
    """The type that a text names, None if it names none."""
    parser = _Parser(text, named)
    kind = parser.type_name()
    return kind if parser.token.kind == "end" else None


def parse_prototype(text: str, named: Callable[[str], c.CType | None]) -> tuple[c.Function, list[str]] | None:
    """A function's type, and the names of its parameters as far as they have some; None for other text.

    >>> kind, names = parse_prototype("int f(const char *format, ...)", lambda key: None)
    >>> str(kind), names
    ('int (const char *, ...)', ['format'])
    """
    try:
        parser = _Parser(text, named)
        parser.declares = True
        kind = parser.type_name()
    except DebugError:
        return None
    if not isinstance(kind, c.Function) or parser.token.kind != "end":
        return None
    return kind, parser.declared[1:]
