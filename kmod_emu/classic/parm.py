"""Module parameters of the time: typed by a string in .modinfo, stored by insmod into the object's data.

`parm_irq=1-4i` says that `irq` takes one to four ints. The types are b (byte), h (short), i (int), l (long),
s (string: a pointer) and cN (characters in an array of N).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.classic.obj import ObjectFile, Section, Symbol

_SIZES = {"b": 1, "h": 2, "i": 4, "l": 8}
_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.?)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "e": "\033", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_FORMAT = re.compile(r"(\d*)(?:-(\d*))?")
_LARGEST = 1 << 64
_MOST_DIGITS = 24  # of a number that may fit


class Format(NamedTuple):
    """What `[min[-max]]T` says.

    Attributes:
        least: How many values there must be.
        most: How many there may be; 0 for any number.
        type: The letter.
        size: Behind `c`, the size of the array; "" without one.

    >>> Format.parse("1-4i")
    Format(least=1, most=4, type='i', size='')
    >>> Format.parse("2c20"), Format.parse("s")
    (Format(least=2, most=2, type='c', size='20'), Format(least=1, most=1, type='s', size=''))
    """

    least: int
    most: int
    type: str
    size: str

    @classmethod
    def parse(cls, text: str) -> Format:
        """From a parm_ string."""
        least = most = 1
        match = _FORMAT.match(text) if text[:1].isdecimal() else None
        if match:
            least = int(match[1][:9])
            most = least if match[2] is None else int(match[2][:9] or 0)
            text = text[match.end() :]
        digits = re.match(r"\d*", text[1:])
        return cls(least, most, text[:1], digits[0] if digits else "")


def declared(modinfo: dict[str, str]) -> dict[str, str]:
    """Names and formats of the parameters that a module declares."""
    return {
        tag.removeprefix("parm_"): value
        for tag, value in modinfo.items()
        if tag.startswith("parm_") and not tag.startswith("parm_desc_")
    }


def check_declarations(obj: ObjectFile, prefix: str) -> list[str]:
    """Warnings about declarations that make no sense."""
    warnings = []
    for name, text in declared(obj.modinfo()).items():
        parameter = Format.parse(text)
        if obj.find_symbol(name) is None:
            warnings.append(f"Warning: {prefix} symbol for parameter {name} not found")
        elif parameter.most < parameter.least:
            warnings.append(f"Warning: {prefix} parameter {name} has max < min!")
        elif not parameter.type:
            warnings.append(f"{prefix} parameter {name} has no format character!")
        elif parameter.type not in "cbhils":
            warnings.append(f"{prefix} parameter {name} has unknown format character '{parameter.type}'")
        elif parameter.type == "c" and not parameter.size:
            warnings.append(f"{prefix} parameter {name} has no size after 'c'!")
    return warnings


def process_arguments(obj: ObjectFile, words: Iterable[str], *, typed: bool) -> list[tuple[str, str]]:
    """Store what `name=value[,value]...` says; words without `=` are passed over.

    Args:
        obj: The object, not relocated yet.
        words: From the command line.
        typed: Whether it has .modinfo; else any symbol may be set, to a number or a string.

    Returns:
        Names and values.

    Raises:
        ToolError: insmod's message.
    """
    formats, done = declared(obj.modinfo()), []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            continue
        if not typed:
            parameter = Format(0, 0, "i" if value[:1].isdecimal() else "s", "")
        elif name in formats:
            parameter = Format.parse(formats[name])
        else:
            raise ToolError(f"invalid parameter parm_{name}")
        _Store(obj, name, parameter).values(value)
        done.append((name, value))
    return done


class _Store:
    """Where the values of one parameter go."""

    def __init__(self, obj: ObjectFile, name: str, parameter: Format) -> None:
        self._obj, self._name, self._parameter = obj, name, parameter
        symbol = obj.find_symbol(name)
        self._section = _section_of(obj, symbol)
        if symbol is None or self._section is None:
            raise ToolError(f"symbol for parameter {name} not found")
        self._place = symbol.value

    def values(self, text: str) -> None:
        """All values of a word."""
        parameter, count = self._parameter, 1
        while text:
            text = self._value(text).lstrip(" \t\n\v\f\r")
            if not text:
                break
            if text[0] != ",":
                raise ToolError(f"invalid argument syntax for {self._name}: '{text[0]}'")
            count += 1
            if parameter.most and count > parameter.most:
                raise ToolError(f"too many values for {self._name} (max {parameter.most})")
            text = text[1:]
        if count < parameter.least:
            raise ToolError(f"too few values for {self._name} (min {parameter.least})")

    def _value(self, text: str) -> str:
        """Store the value at the start of a text; what follows it."""
        kind = self._parameter.type
        if kind in ("s", "c"):
            return self._string(text)
        if kind not in _SIZES or not kind:
            raise ToolError(f"unknown parameter type '{kind}' for {self._name}")
        match = _NUMBER.match(text)  # without a number nothing is read, and 0 stored
        number = _integer(match) if match else 0
        size = _SIZES[kind]
        self._write(struct.pack("<Q", number & _LARGEST - 1)[:size])
        return text[match.end() :] if match else text

    def _string(self, text: str) -> str:
        if text[0] == '"':
            string, rest = self._quoted(text)
        else:
            string, comma, rest = text.partition(",")
            rest = comma + rest
        if self._parameter.type == "s":
            assert self._section is not None
            self._check(8)
            self._obj.patch_string(self._section, self._place, string)
            self._place += 8
            return rest
        if not self._parameter.size:
            raise ToolError(f"parameter type 'c' for {self._name} must be followed by the maximum size")
        size, raw = int(self._parameter.size[:9]), string.encode("utf-8", "surrogateescape")
        if len(raw) >= size - 1:
            raise ToolError(f"string too long for {self._name} (max {size - 1})")
        self._check(size)
        self._write(raw + b"\0")
        self._place += size - len(raw) - 1
        return rest

    def _quoted(self, text: str) -> tuple[str, str]:
        """A string in quotes, with C's escapes, and what follows it."""
        match = re.match(r'"((?:[^"\\]|\\.)*)"', text, re.DOTALL)
        if match is None:
            raise ToolError(f"improperly terminated string argument for {self._name}")
        return _ESCAPE.sub(_unescape, match[1]), text[match.end() :]

    def _check(self, size: int) -> None:
        assert self._section is not None
        if self._place + size > self._section.size:
            raise ToolError(f"the values of {self._name} do not fit in section {self._section.name}")

    def _write(self, data: bytes) -> None:
        assert self._section is not None
        self._check(len(data))
        if any(data) or any(self._section.contents[self._place : self._place + len(data)]):
            self._section.contents[self._place : self._place + len(data)] = data
        self._place += len(data)


def _section_of(obj: ObjectFile, symbol: Symbol | None) -> Section | None:
    if symbol is None or symbol.undefined or symbol.section >= len(obj.sections):
        return None
    return obj.sections[symbol.section]


def _integer(match: re.Match[str]) -> int:
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    number = _LARGEST - 1 if len(digits) > _MOST_DIGITS else min(int(digits, base), _LARGEST - 1)
    return -number if match[1] == "-" else number


def _unescape(match: re.Match[str]) -> str:
    text = match[1]
    if text[:1].isdecimal() and text[0] in "01234567":
        return bytes([int(text, 8) & 0xFF]).decode("utf-8", "surrogateescape")
    return _ESCAPES.get(text, text)
