"""The ``%p`` extensions (lib/vsprintf.c: pointer): which letter is printed by what, and the plain ones.

Network addresses are in `vsprintf_addresses`, bit names in `vsprintf_flags`, kernel structures in
`vsprintf_structs`. %pV and %pA are in the engine, which they call back or warn through.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kmod_emu.kernel.errname import errname
from kmod_emu.kernel.printf_spec import (
    SIGN,
    SMALL,
    ZEROPAD,
    KptrView,
    Spec,
    checked,
    error_string,
    is_err_value,
    number,
    special_hex_number,
    string,
    string_nocheck,
)
from kmod_emu.kernel.vsprintf_addresses import ip_addr_string, mac_address_string, uuid_string
from kmod_emu.kernel.vsprintf_flags import flags_string
from kmod_emu.kernel.vsprintf_structs import (
    bdev_name,
    clock,
    dentry_name,
    device_node_string,
    file_dentry_name,
    fwnode_string,
    resource_string,
    time_and_date,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.printf_spec import Context, Handler

__all__ = ["pointer_handler"]

_POINTER_DIGITS = 16
_HEX_STRING_MAX = 64


def pointer_handler(suffix: bytes) -> Handler:
    """The function that prints ``%p`` followed by `suffix`; an unknown suffix prints as plain ``%p``.

    >>> pointer_handler(b"") is pointer_handler(b"Q"), pointer_handler(b"I4") is pointer_handler(b"i6c")
    (True, True)
    """
    return _HANDLERS.get(suffix[:1], _default_pointer)


# --- the value itself ---------------------------------------------------------------------------------


def _pointer_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%px: sixteen digits, or as many as a given width leaves room for."""
    flags, width = spec.flags | SMALL, spec.width
    if width == -1:
        flags, width = flags | ZEROPAD, _POINTER_DIGITS
    return number(pointer, Spec(flags, width, spec.precision, 16))


def _default_pointer(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%p: a hash, since an address is a secret; NULL and error pointers are no addresses and shown."""
    if pointer and not is_err_value(pointer):
        hashed = context.hash_pointer(pointer)
        if hashed is None:
            return error_string(b"(____ptrval____)", spec._replace(width=_POINTER_DIGITS))
        pointer = hashed
    return _pointer_string(pointer, suffix, spec, context)


def _restricted_pointer(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pK."""
    view = context.kptr_visible()
    if view is KptrView.HASHED:
        return _default_pointer(pointer, suffix, spec, context)
    if view is KptrView.ERROR:
        width = _POINTER_DIGITS if spec.width == -1 else spec.width
        return error_string(b"pK-error", spec._replace(width=width))
    return _pointer_string(pointer if view is KptrView.REAL else 0, suffix, spec, context)


def _err_ptr(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pe: the name of an error pointer, its number where it has none, else as %p."""
    if not is_err_value(pointer):
        return _default_pointer(pointer, suffix, spec, context)
    err = pointer - (1 << 64)
    name = errname(err)
    if name is None:
        return number(err, Spec(spec.flags | SIGN, spec.width, spec.precision, 10))
    return string_nocheck(name.encode(), spec)


def _symbol_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pS, %ps, %pB: a symbol, with or without offset, or that of the call before a return address.

    R is nothing on x86; b would add a build id, for which Debian's kernels are not configured.
    """
    code = suffix[:1]
    back = code == b"B"
    symbol = context.symbolize(pointer - back & (1 << 64) - 1)
    if symbol is None:
        text = f"{pointer:#x}"
    else:
        text = symbol.name
        if code != b"s":
            text += f"+{symbol.offset + back:#x}/{symbol.size:#x}"
        if symbol.module is not None:
            text += f" [{symbol.module}]"
    return string_nocheck(text.encode("utf-8", "surrogateescape"), spec)


# --- what it points to --------------------------------------------------------------------------------


def _hex_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%*ph: that many bytes, at most 64; C colons, D dashes, N no separator."""
    return _hex_bytes(pointer, suffix, spec, context) if spec.width else b""


@checked
def _hex_bytes(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    size = min(spec.width, _HEX_STRING_MAX) if spec.width > 0 else 1
    data = context.memory.read(pointer, size)
    option = suffix[1:2]
    if option == b"N":
        return data.hex().encode()
    return data.hex({b"C": ":", b"D": "-"}.get(option, " ")).encode()


@checked
def _bitmap(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%*pb: groups of 32 bits in hexadecimal, highest first; %*pbl: a list of ranges."""
    bits = max(spec.width, 0)
    words = context.memory.read(pointer, (bits + 63) // 64 * 8)
    value = int.from_bytes(words, "little") & ((1 << bits) - 1)
    if suffix[1:2] == b"l":
        return b",".join(_ranges(value))
    if not bits:
        return b""
    digits = b"%0*x" % ((bits + 3) // 4, value)
    first = len(digits) % 8
    groups = [digits[at : at + 8] for at in range(first, len(digits), 8)]
    return b",".join([digits[:first], *groups] if first else groups)


def _ranges(value: int) -> Iterator[bytes]:
    """The runs of set bits, as "first-last" or "only"."""
    bits = f"{value:b}"[::-1] + "0"
    start = bits.find("1")
    while start >= 0:
        end = bits.find("0", start)
        yield b"%d" % start if end == start + 1 else b"%d-%d" % (start, end - 1)
        start = bits.find("1", end)


def _escaped_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%*pE: that many bytes, escaped as the letters [achnops] say; without any, all that is not printable."""
    return _escaped_bytes(pointer, suffix, spec, context) if spec.width else b""


@checked
def _escaped_bytes(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    letters = suffix[1:]
    rules = letters[: len(letters) - len(letters.lstrip(b"achnops"))]
    table = _escapes(frozenset(rules.decode()) or frozenset("ap"))
    data = context.memory.read(pointer, max(spec.width, 1))
    return b"".join([table[byte] for byte in data])


_ESCAPE_SPACE = dict(zip(b"\n\r\t\v\f", b"nrtvf", strict=True))
_ESCAPE_SPECIAL = dict(zip(b'\\\a\x1b"', b'\\ae"', strict=True))


@cache
def _escapes(rules: frozenset[str]) -> tuple[bytes, ...]:
    """What each byte becomes (lib/string_helpers.c: string_escape_mem)."""
    if "a" in rules:
        rules |= frozenset("socn")
    return tuple(_escape(byte, rules) for byte in range(256))


def _escape(byte: int, rules: frozenset[str]) -> bytes:
    if "p" in rules and _is_print(byte):
        return bytes((byte,))
    if "s" in rules and byte in _ESCAPE_SPACE:
        return b"\\%c" % _ESCAPE_SPACE[byte]
    if "c" in rules and byte in _ESCAPE_SPECIAL:
        return b"\\%c" % _ESCAPE_SPECIAL[byte]
    if "n" in rules and not byte:
        return b"\\0"
    if "o" in rules:
        return b"\\%03o" % byte
    if "h" in rules:
        return b"\\x%02x" % byte
    return bytes((byte,))


def _is_print(byte: int) -> bool:
    """The kernel's isprint(): it knows Latin-1 (lib/ctype.c)."""
    return 0x20 <= byte <= 0x7E or byte >= 0xA0


def _probed_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pks and %pus, which tracing alone gives a meaning: here as %s."""
    if suffix[1:2] == b"s":
        return string(pointer, spec, context)
    return error_string(b"(einval)", spec)


@checked
def _netdev_bits(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pNF: netdev_features_t."""
    if suffix[1:2] != b"F":
        return error_string(b"(%pN?)", spec)
    return special_hex_number(context.memory.read_u64(pointer), 8)


@checked
def _address_val(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pa[pd]: phys_addr_t and dma_addr_t, both eight bytes."""
    return special_hex_number(context.memory.read_u64(pointer), 8)


def _fourcc_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%p4cc: a V4L2 or DRM pixel format."""
    if suffix[1:3] != b"cc":
        return error_string(b"(%p4?)", spec)
    return _fourcc(pointer, suffix, spec, context)


@checked
def _fourcc(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    code = context.memory.read_u32(pointer)
    letters = (code & 0x7FFFFFFF).to_bytes(4, "little")
    name = bytes(byte if 0x20 <= byte <= 0x7E else ord(".") for byte in letters)
    text = b"%s %s (0x%08x)" % (name, b"big-endian" if code >> 31 else b"little-endian", code)
    return string_nocheck(text, spec)


_HANDLERS: dict[bytes, Handler] = {
    b"S": _symbol_string,
    b"s": _symbol_string,
    b"B": _symbol_string,
    b"R": resource_string,
    b"r": resource_string,
    b"h": _hex_string,
    b"b": _bitmap,
    b"M": mac_address_string,
    b"m": mac_address_string,
    b"I": ip_addr_string,
    b"i": ip_addr_string,
    b"E": _escaped_string,
    b"U": uuid_string,
    b"K": _restricted_pointer,
    b"N": _netdev_bits,
    b"4": _fourcc_string,
    b"a": _address_val,
    b"d": dentry_name,
    b"t": time_and_date,
    b"C": clock,
    b"D": file_dentry_name,
    b"g": bdev_name,
    b"G": flags_string,
    b"O": device_node_string,
    b"f": fwnode_string,
    b"x": _pointer_string,
    b"e": _err_ptr,
    b"u": _probed_string,
    b"k": _probed_string,
}
