"""%pM, %pm, %pI, %pi and %pU: hardware, Internet and universally unique addresses (lib/vsprintf.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.printf_spec import checked, error_string, number, string_nocheck

if TYPE_CHECKING:
    from kmod_emu.kernel.printf_spec import Context, Spec

__all__ = ["ip_addr_string", "mac_address_string", "uuid_string"]

_AF_INET = 2
_AF_INET6 = 10
_IPV6_FLOWINFO_MASK = 0x0FFFFFFF
_GUID_ORDER = (3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15)


@checked
def mac_address_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pM with colons, %pMF with dashes, %pm bare; R reverses the bytes."""
    address = context.memory.read(pointer, 6)
    if suffix[1:2] == b"R":
        address = address[::-1]
    separator = "-" if suffix[1:2] == b"F" else ":"
    text = address.hex() if suffix[:1] == b"m" else address.hex(separator)
    return string_nocheck(text.encode(), spec)


@checked
def uuid_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pU: b (default) in memory order, l as a GUID; capital letters for capital digits."""
    raw = context.memory.read(pointer, 16)
    option = suffix[1:2]
    if option in (b"l", b"L"):
        raw = bytes(raw[index] for index in _GUID_ORDER)
    text = "-".join(part.hex() for part in (raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]))
    if option in (b"L", b"B"):
        text = text.upper()
    return string_nocheck(text.encode(), spec)


@checked
def ip_addr_string(pointer: int, suffix: bytes, spec: Spec, context: Context) -> bytes:
    """%pI4, %pI6 and %pIS (a struct sockaddr); a small i prints the digits raw."""
    memory = context.memory
    raw, kind, options = suffix[:1] == b"i", suffix[1:2], suffix[2:]
    if kind == b"4":
        text = _ip4_string(memory.read(pointer, 4), raw, options[:1])
    elif kind == b"6":
        text = _ip6_string(memory.read(pointer, 16), raw, options[:1] == b"c")
    elif kind == b"S":
        family, options = memory.read_u16(pointer), _letters(options)
        if family == _AF_INET:
            text = _sockaddr_in(memory.read(pointer, 8), raw, options, spec)
        elif family == _AF_INET6:
            text = _sockaddr_in6(memory.read(pointer, 28 if b"s" in options else 24), raw, options, spec)
        else:
            return error_string(b"(einval)", spec)
    else:
        return error_string(b"(%pi?)" if raw else b"(%pI?)", spec)
    return string_nocheck(text, spec)


def _letters(options: bytes) -> bytes:
    """The options of %pIS end at the first digit (or other byte that is no letter)."""
    for index, byte in enumerate(options):
        if byte in b"0123456789":
            return options[:index]
    return options


def _ip4_string(address: bytes, raw: bool, order: bytes) -> bytes:
    if order in (b"h", b"l"):  # host and little-endian order are the same here
        address = address[::-1]
    return b".".join(b"%03d" % byte if raw else b"%d" % byte for byte in address)


def _ip6_string(address: bytes, raw: bool, compressed: bool) -> bytes:
    if raw:
        return address.hex().encode()
    if compressed:
        return _ip6_compressed_string(address)
    return address.hex(":", 2).encode()


def _ip6_compressed_string(address: bytes) -> bytes:
    """RFC 5952: the first longest run of two or more zero groups becomes "::"; IPv4 tails stay dotted."""
    mapped = address[:12] == bytes(10) + b"\xff\xff"
    isatap = address[8] | 2 == 2 and address[9:12] == b"\0\x5e\xfe"
    range_ = 6 if mapped or isatap else 8
    groups = [int.from_bytes(address[at : at + 2], "big") for at in range(0, 2 * range_, 2)]
    parts = [b"%x" % group for group in groups]
    if range_ == 6:
        parts.append(_ip4_string(address[12:], False, b""))
    start, length = _longest_zero_run(groups)
    if length < 2:
        return b":".join(parts)
    return b":".join(parts[:start]) + b"::" + b":".join(parts[start + length :])


def _longest_zero_run(groups: list[int]) -> tuple[int, int]:
    """Start and length of the first of the longest runs of zeros."""
    best = (0, 0)
    start = 0
    for index, group in enumerate([*groups, 1]):
        if group:
            if index - start > best[1]:
                best = (start, index - start)
            start = index + 1
    return best


def _sockaddr_in(sockaddr: bytes, raw: bool, options: bytes, spec: Spec) -> bytes:
    """A struct sockaddr_in { u16 family, be16 port, be32 addr }; the last byte-order letter counts."""
    order = bytes(letter for letter in options if letter in b"hlnb")[-1:]
    text = _ip4_string(sockaddr[4:8], raw, order)
    if b"p" in options:
        text += b":" + number(int.from_bytes(sockaddr[2:4], "big"), spec)
    return text


def _sockaddr_in6(sockaddr: bytes, raw: bool, options: bytes, spec: Spec) -> bytes:
    """A struct sockaddr_in6 { u16 family, be16 port, be32 flowinfo, u8 addr[16], u32 scope_id }.

    The numbers take the width and flags of the conversion, which is then applied again to the whole.
    """
    text = _ip6_string(sockaddr[8:24], raw, b"c" in options)
    if b"p" in options or b"s" in options or b"f" in options:
        text = b"[" + text + b"]"
    if b"p" in options:
        text += b":" + number(int.from_bytes(sockaddr[2:4], "big"), spec)
    if b"f" in options:
        text += b"/" + number(int.from_bytes(sockaddr[4:8], "big") & _IPV6_FLOWINFO_MASK, spec)
    if b"s" in options:
        text += b"%" + number(int.from_bytes(sockaddr[24:28], "little"), spec)
    return text
