"""The format language of printk and snprintf, as Linux 6.1 reads it (lib/vsprintf.c).

A format is compiled once into literal pieces and small functions, one a conversion; `vsnprintf` then only
runs them. The ``%p`` extensions are in `vsprintf_pointers`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from kmod_emu.kernel.errname import errname
from kmod_emu.kernel.printf_spec import (
    LEFT,
    PLUS,
    SIGN,
    SMALL,
    SPACE,
    SPECIAL,
    ZEROPAD,
    Context,
    FormatWarning,
    KptrView,
    NotSupported,
    Spec,
    Symbol,
    check_pointer_msg,
    error_string,
    number,
    read_string,
    string,
    widen_string,
)
from kmod_emu.kernel.va_list import Arguments, RegisterArguments, VaList

__all__ = [
    "Arguments",
    "Context",
    "FormatWarning",
    "KptrView",
    "NotSupported",
    "RegisterArguments",
    "Symbol",
    "VaList",
    "errname",
    "parse_prefix",
    "vsnprintf",
]

_FLAGS = {ord("-"): LEFT, ord("+"): PLUS, ord(" "): SPACE, ord("#"): SPECIAL, ord("0"): ZEROPAD}
_DIGITS = b"0123456789"
_FIELD_WIDTH_MAX = (1 << 23) - 1
_PRECISION_MAX = (1 << 15) - 1
_NESTED, _LONGEST = (
    1000,
    1 << 25,
)  # formats within one; bytes of a text: two numbers of the greatest width fit
_PREFIX_BYTES = 7  # vprintk_store() looks for a level in this much of the text

# The kernel's isalnum() knows Latin-1 letters (lib/ctype.c): they too are swallowed after %p.
_ALNUM = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | (
    frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}
)

_BITS = {b"": 32, b"h": 16, b"hh": 8, b"l": 64, b"ll": 64, b"L": 64, b"z": 64, b"t": 64}
_INTEGERS = {
    ord("d"): (SIGN, 10),
    ord("i"): (SIGN, 10),
    ord("u"): (0, 10),
    ord("x"): (SMALL, 16),
    ord("X"): (0, 16),
    ord("o"): (0, 8),
}

Emit = Callable[[Arguments, Context, list[FormatWarning]], bytes]
Make = Callable[[Spec], Emit]  # from how a conversion is to look, to what prints it


def vsnprintf(
    format: bytes,
    arguments: Arguments,
    context: Context,
    warnings: list[FormatWarning] | None = None,
) -> bytes:
    """Format as the kernel does.

    Args:
        format: The format string, without NUL.
        arguments: The variadic arguments; as many are taken as conversions ask for.
        context: What ``%s`` and the ``%p`` extensions read.
        warnings: Receives the WARN_ONCE()s met, each time they are met.

    Returns:
        The whole text: not cut to a buffer, without NUL.

    Raises:
        PageFault: Memory that an argument points to cannot be read.
        NotSupported: An extension needs structures the machine does not have; or the text has no end.
    """
    if warnings is None:
        warnings = []
        context.nested = 0
    pieces, left = [], _LONGEST
    for piece in _compile(format):
        pieces.append(piece if isinstance(piece, bytes) else piece(arguments, context, warnings))
        left -= len(pieces[-1])
        if left < 0:
            raise NotSupported(f"a text of more than {_LONGEST} bytes")
    return b"".join(pieces)


def parse_prefix(text: bytes) -> tuple[int | None, bool, bytes]:
    r"""Take the level and KERN_CONT marks off formatted text (kernel/printk/printk.c: printk_parse_prefix).

    All marks are removed, but level and continuation are only looked for in the first 7 bytes, as
    vprintk_store() does.

    Returns:
        The first level (0 to 7) or None, whether KERN_CONT was there, and the text after the marks.

    >>> parse_prefix(b"\x013warn\n")
    (3, False, b'warn\n')
    >>> parse_prefix(b"\x01c\x016\x014 more")
    (6, True, b' more')
    """
    level, cont, at = None, False, 0
    while text[at : at + 1] == b"\1" and (mark := text[at + 1 : at + 2]) and mark in b"01234567c":
        at += 2
        if at <= _PREFIX_BYTES:
            if mark == b"c":
                cont = True
            elif level is None:
                level = int(mark)
    return level, cont, text[at:]


# --- compiling a format -------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _compile(format: bytes) -> tuple[bytes | Emit, ...]:
    """Cut a format into literal bytes and functions that print one conversion each."""
    text = format.partition(b"\0")[0]
    pieces: list[bytes | Emit] = []
    at = 0
    while at < len(text):
        percent = text.find(b"%", at)
        if percent < 0:
            percent = len(text)
        if percent > at:
            pieces.append(text[at:percent])
        if percent == len(text):
            break
        decoder = _Decoder(text, percent + 1)
        pieces.append(decoder.decode())
        if decoder.stop:
            break
        at = decoder.at
    return tuple(pieces)


class _Decoder:
    """Reads one conversion (lib/vsprintf.c: format_decode).

    Attributes:
        at: Index of the byte after what was read.
        stop: The conversion is not one the kernel has: nothing after it is printed.
    """

    def __init__(self, text: bytes, at: int) -> None:
        self._text = text
        self.at = at
        self.stop = False

    def decode(self) -> bytes | Emit:
        """Read flags to conversion character; returns literal bytes for %%."""
        flags = 0
        while (flag := _FLAGS.get(self._peek())) is not None:
            flags |= flag
            self.at += 1
        width = self._integer_or_star(_wrap(24))
        if width is None and self._ended():
            return _from_arguments(flags, None, -1, _nothing)
        precision: int | None = -1
        if self._peek() == ord("."):
            self.at += 1
            precision = self._integer_or_star(lambda value: max(_wrap(16)(value), 0))
            if precision is None and self._ended():
                return _from_arguments(flags, width, None, _nothing)
        more_flags, base, make = self._conversion()
        if width is None or precision is None:
            return _from_arguments(flags | more_flags, width, precision, make, base)
        return b"%" if make is _percent else make(Spec(flags | more_flags, width, precision, base))

    def _peek(self) -> int:
        return self._text[self.at] if self.at < len(self._text) else 0

    def _ended(self) -> bool:
        return self.at >= len(self._text)

    def _integer_or_star(self, stored: Callable[[int], int]) -> int | None:
        """A number as its bit field keeps it, -1 for none, or None for ``*``."""
        if self._peek() == ord("*"):
            self.at += 1
            return None
        start = self.at
        while self._peek() in _DIGITS:
            self.at += 1
        # 10^24 is 0 modulo 2^24, so the last 24 digits decide (and int() refuses thousands of them).
        return stored(int(self._text[start : self.at][-24:])) if self.at > start else -1

    def _qualifier(self) -> bytes:
        start = self.at
        first = self._peek()
        if first in b"hlLzt":
            self.at += 1
            if first in b"hl" and self._peek() == first:
                self.at += 1
        return self._text[start : self.at]

    def _conversion(self) -> tuple[int, int, Make]:
        """The flags and base that the conversion adds, and what prints it."""
        bits = _BITS[self._qualifier()]
        character = self._peek()
        self.at += 1
        if character in _INTEGERS:
            flags, base = _INTEGERS[character]
            return flags, base, partial(_integer, bits)
        if character == ord("s"):
            return 0, 10, _string
        if character == ord("c"):
            return 0, 10, _character
        if character == ord("p"):
            start = self.at
            while self._peek() in _ALNUM:
                self.at += 1
            return 0, 10, partial(_pointer, self._text[start : self.at])
        if character == ord("%"):
            return 0, 10, _percent
        self.stop = True
        return 0, 10, partial(_unsupported, character)


def _wrap(bits: int) -> Callable[[int], int]:
    """What a signed bit field of that many bits keeps of a value: nothing clamps a literal number."""
    top = 1 << (bits - 1)
    return lambda value: ((value & (2 * top - 1)) ^ top) - top


# --- conversions --------------------------------------------------------------------------------------


def _from_arguments(flags: int, width: int | None, precision: int | None, make: Make, base: int = 10) -> Emit:
    """A conversion whose width or precision (None here) is itself an argument."""

    def emit(arguments: Arguments, context: Context, warnings: list[FormatWarning]) -> bytes:
        actual_flags, actual_width, actual_precision = flags, width, precision
        if actual_width is None:
            actual_width = _wrap(32)(arguments.next())
            if not -_FIELD_WIDTH_MAX - 1 <= actual_width <= _FIELD_WIDTH_MAX:
                warnings.append(FormatWarning("set_field_width", b"field width %d too large" % actual_width))
                actual_width = max(-_FIELD_WIDTH_MAX, min(actual_width, _FIELD_WIDTH_MAX))
            if actual_width < 0:
                actual_width = _wrap(24)(-actual_width)
                actual_flags |= LEFT
        if actual_precision is None:
            actual_precision = _wrap(32)(arguments.next())
            if not -_PRECISION_MAX - 1 <= actual_precision <= _PRECISION_MAX:
                warnings.append(FormatWarning("set_precision", b"precision %d too large" % actual_precision))
            actual_precision = max(0, min(actual_precision, _PRECISION_MAX))
        return make(Spec(actual_flags, actual_width, actual_precision, base))(arguments, context, warnings)

    return emit


def _integer(bits: int, spec: Spec) -> Emit:
    mask = (1 << bits) - 1
    top = 1 << (bits - 1) if spec.flags & SIGN else 0
    template = _template(spec)
    if template is None:
        return lambda arguments, context, warnings: number(((arguments.next() & mask) ^ top) - top, spec)
    return lambda arguments, context, warnings: template % (((arguments.next() & mask) ^ top) - top)


def _template(spec: Spec) -> bytes | None:
    """The Python format that prints as number() does, where there is one: it is several times faster."""
    flags, width, precision, base = spec
    if flags & SPECIAL or precision != -1:
        return None
    template = b"%"
    if flags & SIGN:
        template += b"+" if flags & PLUS else b" " if flags & SPACE else b""
    if width > 0:
        template += b"-" if flags & LEFT else b"0" if flags & ZEROPAD else b""
        template += b"%d" % width
    return template + {8: b"o", 10: b"d", 16: b"x" if flags & SMALL else b"X"}[base]


def _character(spec: Spec) -> Emit:
    return lambda arguments, context, warnings: widen_string(bytes((arguments.next() & 0xFF,)), spec)


def _string(spec: Spec) -> Emit:
    return lambda arguments, context, warnings: string(arguments.next(), spec, context)


def _pointer(suffix: bytes, spec: Spec) -> Emit:
    code = suffix[:1]
    if code == b"V":
        return partial(_va_format, spec)
    if code == b"A":
        return partial(_rust_argument, spec)
    from kmod_emu.kernel.vsprintf_pointers import pointer_handler  # many a module never prints a pointer

    handler = pointer_handler(suffix)
    return lambda arguments, context, warnings: handler(arguments.next(), suffix, spec, context)


def _va_format(spec: Spec, arguments: Arguments, context: Context, warnings: list[FormatWarning]) -> bytes:
    """%pV: struct va_format { const char *fmt; va_list *va; }, read without moving the va_list on."""
    pointer = arguments.next()
    message = check_pointer_msg(pointer)
    if message:
        return error_string(message, spec)
    memory = context.memory
    va_list = VaList(memory, memory.read_u64(pointer + 8), advance=False)
    format = read_string(memory, memory.read_u64(pointer))
    context.nested += 1
    if context.nested > _NESTED:
        raise NotSupported(f"more than {_NESTED} formats by %pV in one")
    try:
        return vsnprintf(format, va_list, context, warnings)
    except RecursionError:
        raise NotSupported(
            "%pV of a va_format that contains itself: the kernel's stack would overflow"
        ) from None


def _rust_argument(
    spec: Spec, arguments: Arguments, context: Context, warnings: list[FormatWarning]
) -> bytes:
    """%pA: a Rust fmt::Arguments, in a kernel built without Rust."""
    arguments.next()
    warnings.append(FormatWarning("pointer", b"Please remove %pA from non-Rust code\n"))
    return error_string(b"(%pA?)", spec)


def _unsupported(character: int, spec: Spec) -> Emit:
    """A conversion the kernel does not have (%n among them): it warns and prints nothing more."""
    warning = FormatWarning("format_decode", b"Please remove unsupported %%%c in format string\n" % character)

    def emit(arguments: Arguments, context: Context, warnings: list[FormatWarning]) -> bytes:
        warnings.append(warning)
        return b""

    return emit


def _percent(spec: Spec) -> Emit:
    """%%, which takes the arguments of its stars but no width from them."""
    return lambda arguments, context, warnings: b"%"


def _nothing(spec: Spec) -> Emit:
    """The format ends right after ``*``: the argument is taken, and nothing printed."""
    return lambda arguments, context, warnings: b""
