"""Values as gdb prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.values import DebugError, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Printer", "character", "format_number", "quoted"]

_REPEATS = 10  # as many equal elements are told, not shown
_ELEMENTS = 200
_DEPTH = 20
_SIMPLE = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 27: "\\033"}


def quoted(code: int, quote: str) -> str:
    r"""One character as it stands between quotes.

    >>> quoted(10, "'"), quoted(0, '"'), quoted(39, "'")
    ('\\n', '\\000', "\\'")
    """
    if code in _SIMPLE:
        return _SIMPLE[code]
    if code < 32 or code >= 127:
        return f"\\{code:03o}"
    return f"\\{chr(code)}" if chr(code) in ("\\", quote) else chr(code)


def character(number: int) -> str:
    r"""A character with its code.

    >>> character(65), character(-1)
    ("65 'A'", "-1 '\\377'")
    """
    return f"{number} '{quoted(number & 0xFF, chr(39))}'"


def format_number(letter: str, value: int, size: int, *, padded: bool = False) -> str:
    """An integer in one of the formats x, o, t, d, u, c, z.

    Args:
        letter: Which.
        value: Signed or unsigned.
        size: Its bytes.
        padded: Zeros in front, as memory is shown.

    >>> format_number("x", -1, 2), format_number("t", 5, 4), format_number("x", 1, 4, padded=True)
    ('0xffff', '101', '0x00000001')
    """
    raw = value & (1 << 8 * size) - 1
    if letter == "x":
        return f"0x{raw:0{2 * size}x}" if padded else f"{raw:#x}"
    if letter == "z":
        return f"0x{raw:0{2 * size}x}"
    if letter == "o":
        digits = f"{raw:o}"
        return "0" if not raw else f"0{digits.rjust(-(-8 * size // 3), '0') if padded else digits}"
    if letter == "t":
        return f"{raw:0{8 * size}b}" if padded else f"{raw:b}"
    if letter == "u":
        return str(raw)
    signed = raw - (1 << 8 * size) if raw >> (8 * size - 1) else raw
    return character(_low_byte(raw)) if letter == "c" else str(signed)


def _low_byte(raw: int) -> int:
    return (raw & 0xFF) - 256 if raw & 0x80 else raw & 0xFF


class Printer:
    """Prints values.

    Args:
        symbol: `<name+offset>` of an address, "" if it has none.
        complete: A structure as some file defines it.
    """

    def __init__(self, symbol: Callable[[int], str], complete: Callable[[c.CType], c.CType]) -> None:
        self.symbol, self.complete = symbol, complete
        self.pretty = False
        self.elements, self.repeats, self.depth = _ELEMENTS, _REPEATS, _DEPTH

    def show(self, value: Value, letter: str = "") -> str:
        """A value as `print` shows it, in a format if one is given."""
        bare = value.bare
        if value.lost:
            return f"<{value.lost}>"
        if isinstance(bare, c.Pointer) and not letter:
            text = self._pointer(value, bare)
            return text if _is_text(bare.target) else f"({value.type}) {text}"
        return self._show(value, letter, 0)

    def plain(self, value: Value, letter: str = "") -> str:
        """A value as it stands in a structure: a pointer without its type."""
        return self._show(value, letter, 0)

    def address(self, number: int) -> str:
        """An address with its symbol."""
        symbol = self.symbol(number)
        return f"{number:#x}{' ' if symbol else ''}{symbol}"

    # --- by kind --------------------------------------------------------------------------------------

    def _show(self, value: Value, letter: str, depth: int) -> str:
        bare = self.complete(value.type)
        if value.lost:
            return f"<{value.lost}>"
        if isinstance(bare, c.Aggregate):
            return self._aggregate(value, bare, letter, depth)
        if isinstance(bare, c.Array):
            return self._array(value, bare, letter, depth)
        if isinstance(bare, c.Void):
            return "void"
        if isinstance(bare, c.Function):
            address = value.address or 0
            return f"{{{value.type}}} {self.address(address)}"
        if letter and letter != "s":
            return self._formatted(value, bare, letter)
        return self._scalar(value, bare)

    def _scalar(self, value: Value, bare: c.CType) -> str:
        if isinstance(bare, c.Pointer):
            return self._pointer(value, bare)
        number = value.number()
        if isinstance(bare, c.Float):
            return f"{number:.17g}" if bare.size == 8 else f"{number:.9g}"
        if isinstance(bare, c.Enum):
            return _enumerator(bare, int(number))
        if isinstance(bare, c.Integer):
            if bare.kind == "bool":
                return {0: "false", 1: "true"}.get(int(number), str(number))
            if bare.kind == "char":
                return character(int(number))
        return str(number)

    def _formatted(self, value: Value, bare: c.CType, letter: str) -> str:
        number = value.number()
        if isinstance(bare, c.Float) and letter not in "fcda":
            return format_number(letter, int(number), bare.size)
        size = bare.size
        if letter == "f":
            if isinstance(bare, c.Float):
                return self._scalar(value, bare)
            real = {4: c.FLOAT, 8: c.DOUBLE}.get(size)
            return str(number) if real is None else self._scalar(Value(real, value.content), real)
        if letter == "a":
            return self.address(int(number) & (1 << 64) - 1)
        if letter == "c" and isinstance(bare, c.Integer) and not bare.signed:
            return character(int(number) & 0xFF)
        if letter == "i":
            raise DebugError('Format letter "i" is meaningless in "print" command.')
        return format_number(letter, int(number), size)

    def _pointer(self, value: Value, bare: c.Pointer) -> str:
        number = int(value.number()) & (1 << 64) - 1
        text = self.address(number)
        if _is_text(bare.target) and number:
            return f"{text} {self.text_at(value, number)}"
        return text

    def text_at(self, value: Value, address: int) -> str:
        """The string at an address, or why there is none."""
        data = b""
        while b"\0" not in data and len(data) < self.elements:
            try:
                step = min(self.elements - len(data), 64 - (address + len(data)) % 64)
                data += value.read(address + len(data), step)
            except DebugError as error:
                if not data:
                    return f"<error: {error}>"
                break
        text, end, _ = data.partition(b"\0")
        cut = "..." if not end and len(data) >= self.elements else ""
        return f"{self.string(text)}{cut}"

    # --- compound -------------------------------------------------------------------------------------

    def _aggregate(self, value: Value, bare: c.Aggregate, letter: str, depth: int) -> str:
        if not bare.complete:
            return "<incomplete type>"
        if not bare.fields:
            return "{<No data fields>}"
        if depth >= self.depth:
            return "{...}"
        content = value.content  # read at once: what is not there is told once
        whole = Value(bare, content, memory=value.memory)
        parts = []
        for field in bare.fields:
            shown = self._show(self._part(whole, value, field), letter, depth + 1)
            parts.append(f"{field.name} = {shown}" if field.name else shown)
        if not self.pretty:
            return f"{{{', '.join(parts)}}}"
        indent = "  " * (depth + 1)
        return "{\n" + ",\n".join(indent + part for part in parts) + "\n" + indent[2:] + "}"

    @staticmethod
    def _part(whole: Value, value: Value, field: c.Field) -> Value:
        part = whole.select(field)
        if isinstance(part.bare, (c.Array, c.Aggregate)) and value.address is not None:
            return value.select(field)
        return part

    def _array(self, value: Value, bare: c.Array, letter: str, depth: int) -> str:
        element = bare.element.bare
        if _is_text(element) and letter in ("", "s"):
            return self._characters(value.content) if bare.count else '""'
        if depth >= self.depth:
            return "{...}"
        count, shown, index, used = bare.count or 0, [], 0, 0
        if count and not isinstance(element, (c.Array, c.Aggregate)):
            Value.content.fget(value)  # type: ignore[attr-defined]  # read at once
        while index < count and used < self.elements:
            text = self._show(value.element(index), letter, depth + 1)
            raw, run = value.element(index).content, 1
            while index + run < count and value.element(index + run).content == raw:
                run += 1
            if run >= self.repeats:
                shown.append(f"{text} <repeats {run} times>")
                index, used = index + run, used + self.repeats
            else:
                shown.append(text)
                index, used = index + 1, used + 1
        return f"{{{', '.join(shown)}{'...' if index < count else ''}}}"

    def _characters(self, data: bytes) -> str:
        return self.string(data[:-1] if data and data[-1] == 0 else data)

    def string(self, data: bytes) -> str:
        r"""Characters in quotes, long runs counted.

        >>> printer = Printer(lambda address: "", lambda kind: kind)
        >>> printer.string(b"echo" + bytes(51))
        '"echo", \'\\000\' <repeats 51 times>'
        """
        if not data:
            return '""'
        parts: list[str] = []
        used, plain = 0, ""
        for code, run in _runs(data):
            if used >= self.elements:
                break
            if run > self.repeats:
                if plain:
                    parts.append(f'"{plain}"')
                plain = ""
                parts.append(f"'{quoted(code, chr(39))}' <repeats {run} times>")
                used += self.repeats
            else:
                run = min(run, self.elements - used)
                plain += quoted(code, '"') * run
                used += run
        else:
            return ", ".join([*parts, f'"{plain}"'] if plain else parts)
        return ", ".join([*parts, f'"{plain}"'] if plain else parts) + "..."


def _runs(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for index in range(1, len(data) + 1):
        if index == len(data) or data[index] != data[start]:
            yield data[start], index - start
            start = index


def _is_text(kind: c.CType) -> bool:
    bare = kind.bare
    return isinstance(bare, c.Integer) and bare.size == 1 and bare.kind != "bool"


def _enumerator(kind: c.Enum, number: int) -> str:
    for name, value in kind.values.items():
        if value == number:
            return name
    if not kind.is_flags or not kind.values:
        return str(number)
    if not number:
        return "0"
    words, rest = [], number
    for name, value in kind.values.items():
        if value and rest & value == value:
            words.append(name)
            rest &= ~value
    if not words:
        return f"(unknown: {number:#x})"
    if rest:
        words.append(f"unknown: {rest:#x}")
    return f"({' | '.join(words)})"
