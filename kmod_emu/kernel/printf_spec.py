"""What every conversion of the kernel's printf is made of (lib/vsprintf.c: printf_spec, number, string).

The engine (`vsprintf`) and the ``%p`` extensions (`vsprintf_pointers`) both stand on this file. Text is bytes
throughout, whole and without NUL: truncating to the caller's buffer is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from functools import wraps
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from kmod_emu.machine.memory import Memory

__all__ = [
    "LEFT",
    "PLUS",
    "SIGN",
    "SMALL",
    "SPACE",
    "SPECIAL",
    "ZEROPAD",
    "Context",
    "FormatWarning",
    "Handler",
    "KptrView",
    "NotSupported",
    "Spec",
    "Symbol",
    "check_pointer_msg",
    "checked",
    "error_string",
    "is_err_value",
    "number",
    "read_string",
    "special_hex_number",
    "string",
    "string_nocheck",
    "widen_string",
]

# printf_spec.flags
SIGN = 1  # the value is signed
LEFT = 2
PLUS = 4
SPACE = 8
ZEROPAD = 16
SMALL = 32  # lower-case hexadecimal
SPECIAL = 64  # 0x or 0 in front

_PAGE_SIZE = 4096
_MAX_ERRNO = 4095
_MASK64 = (1 << 64) - 1
_POINTER_DIGITS = 16


class NotSupported(Exception):
    """A conversion needs kernel structures that this machine does not have."""


class FormatWarning(NamedTuple):
    """A WARN_ONCE() that formatting ran into.

    Attributes:
        function: The kernel function it stands in; with it the caller can warn once per place, as Linux does.
        text: The message, exactly as given to WARN_ONCE (its newline too, where it has one).
    """

    function: str
    text: bytes


class Symbol(NamedTuple):
    """What kallsyms knows of an address: symbol, offset into it, its size, and the module it belongs to."""

    name: str
    offset: int
    size: int
    module: str | None = None


class KptrView(Enum):
    """How ``%pK`` shows a pointer to the current task (kptr_restrict)."""

    REAL = auto()  # kptr_restrict is 1, the task has CAP_SYSLOG and euid = uid, egid = gid
    HASHED = auto()  # kptr_restrict is 0: as %p
    ZERO = auto()  # kptr_restrict is 1 without the rights, or 2
    ERROR = auto()  # kptr_restrict is 1 in interrupt context, where there is no task to ask


class Context(Protocol):
    """What formatting needs to know of the kernel.

    Attributes:
        nested: Formats that `%pV` has led to in the text that is being made.
    """

    nested: int

    @property
    def memory(self) -> Memory:
        """Guest memory by virtual address."""

    def symbolize(self, address: int) -> Symbol | None:
        """The symbol `address` lies in (kallsyms_lookup), or None."""

    def hash_pointer(self, value: int) -> int | None:
        """What ``%p`` shows for a pointer: 32 bits of its siphash (or the value itself: no_hash_pointers).

        None before the key is seeded; then "(____ptrval____)" is printed.
        """

    def kptr_visible(self) -> KptrView:
        """What ``%pK`` may show now."""

    def member(self, struct: str, name: str) -> int:
        """Byte offset of a struct member in the running release; NotSupported where it is unknown."""


class Spec(NamedTuple):
    """How one conversion is printed (struct printf_spec).

    Attributes:
        flags: SIGN, LEFT, PLUS, SPACE, ZEROPAD, SMALL, SPECIAL.
        width: The field width, -1 for none given.
        precision: Digits or characters, -1 for none given.
        base: 8, 10 or 16.
    """

    flags: int = 0
    width: int = -1
    precision: int = -1
    base: int = 10


# Prints one family of %p: from the pointer, the letters after the p, the spec and the kernel.
Handler = Callable[[int, bytes, Spec, Context], bytes]


def number(value: int, spec: Spec) -> bytes:
    """Print an integer (lib/vsprintf.c: number).

    Unlike C: zero padding stays on beside a precision, 0 with precision 0 is "0", ``%#x`` of 0 is "0x0", and
    the 0 of ``%#o`` comes on top of the digits that the precision asks for.

    Args:
        value: Taken modulo 2^64; read as signed where spec says SIGN.
        spec: Flags, width, precision, base.

    >>> number(5, Spec(ZEROPAD, width=8, precision=3)), number(-5, Spec(SIGN | ZEROPAD, width=4))
    (b'00000005', b'-005')
    >>> number(0, Spec(SPECIAL | SMALL, base=16)), number(8, Spec(SPECIAL, precision=3, base=8))
    (b'0x0', b'0010')
    """
    flags, width, precision, base = spec
    value &= _MASK64
    head = b""
    if flags & SIGN:
        if value >> 63:
            head = b"-"
            value = (1 << 64) - value
        elif flags & PLUS:
            head = b"+"
        elif flags & SPACE:
            head = b" "
    if base == 16:
        digits = b"%x" % value if flags & SMALL else b"%X" % value
        if flags & SPECIAL:
            head += b"0x" if flags & SMALL else b"0X"
    elif base == 8:
        digits = b"%o" % value
        if flags & SPECIAL and value:
            head += b"0"
    else:
        digits = b"%d" % value
    digits = digits.rjust(precision, b"0")
    if flags & LEFT:
        return (head + digits).ljust(width)
    if flags & ZEROPAD:
        return head + digits.rjust(width - len(head), b"0")
    return (head + digits).rjust(width)


def special_hex_number(value: int, size: int) -> bytes:
    """Print 0x and all digits of a value of `size` bytes.

    >>> special_hex_number(0xFEE00000, 8)
    b'0x00000000fee00000'
    """
    return number(value, Spec(SPECIAL | SMALL | ZEROPAD, width=2 + 2 * size, base=16))


def widen_string(text: bytes, spec: Spec) -> bytes:
    """Pad text with spaces to the field width.

    >>> widen_string(b"ab", Spec(width=4)), widen_string(b"ab", Spec(LEFT, width=4))
    (b'  ab', b'ab  ')
    """
    return text.ljust(spec.width) if spec.flags & LEFT else text.rjust(spec.width)


def string_nocheck(text: bytes, spec: Spec) -> bytes:
    """Cut text to the precision and pad it to the field width.

    >>> string_nocheck(b"abcdef", Spec(LEFT, width=4, precision=3))
    b'abc '
    """
    return widen_string(text if spec.precision < 0 else text[: spec.precision], spec)


def read_string(memory: Memory, address: int, limit: int = -1) -> bytes:
    """Read text up to its NUL, and never a byte beyond `limit` (-1: no limit)."""
    if limit >= 0:
        return memory.read_cstring(address, limit)
    text = piece = memory.read_cstring(address, _PAGE_SIZE)
    while len(piece) == _PAGE_SIZE:
        address += _PAGE_SIZE
        piece = memory.read_cstring(address, _PAGE_SIZE)
        text += piece
    return text


def is_err_value(pointer: int) -> bool:
    """Whether a pointer is an ERR_PTR (include/linux/err.h: IS_ERR_VALUE).

    >>> is_err_value(2**64 - 4095), is_err_value(2**64 - 4096)
    (True, False)
    """
    return pointer > _MASK64 - _MAX_ERRNO


def check_pointer_msg(pointer: int) -> bytes | None:
    """What is printed in place of something at a pointer that cannot be right, or None.

    >>> check_pointer_msg(0), check_pointer_msg(4095), check_pointer_msg(4096)
    (b'(null)', b'(efault)', None)
    """
    if not pointer:
        return b"(null)"
    if pointer < _PAGE_SIZE or is_err_value(pointer):
        return b"(efault)"
    return None


def error_string(text: bytes, spec: Spec) -> bytes:
    """Print a short message in a conversion's place; a precision cuts it like any text."""
    precision = _POINTER_DIGITS if spec.precision == -1 else spec.precision
    return widen_string(text[:precision], spec)


def checked(handler: Handler) -> Handler:
    """Decorate a handler: a pointer that cannot be right is printed as "(null)" or "(efault)"."""

    @wraps(handler)
    def check(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
        message = check_pointer_msg(pointer)
        return error_string(message, spec) if message else handler(pointer, suffix, spec, context)

    return check


def string(pointer: int, spec: Spec, context: Context) -> bytes:
    """Print the text at a pointer (lib/vsprintf.c: string); PageFault where it cannot be read."""
    message = check_pointer_msg(pointer)
    if message:
        return error_string(message, spec)
    return widen_string(read_string(context.memory, pointer, spec.precision), spec)
