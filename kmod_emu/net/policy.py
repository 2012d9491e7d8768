"""Policies as user space is told of them (net/netlink/policy.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.net.wire import NLA_F_NESTED, attribute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore

# Numbers of enum netlink_attribute_type by those of nla_policy.type, as far as the two are told.
_TYPES = {
    1: 2, 2: 3, 3: 4, 4: 5, 5: 11, 6: 1, 7: 5, 8: 13, 9: 14, 10: 12, 11: 10, 12: 6, 13: 7, 14: 8, 15: 9,
    16: 15, 18: 3, 19: 4, 20: 16, 21: 17,
}  # fmt: skip
# How many bits a number has, by nla_policy.type; a binary's is its length.
_BITS = {
    1: 8, 2: 16, 3: 32, 4: 64, 7: 64, 11: 16, 12: 8, 13: 16, 14: 32, 15: 64, 18: 16, 19: 32, 20: 64, 21: 64,
}  # fmt: skip
_SIGNED = (12, 13, 14, 15, 20)
_STRING, _NUL_STRING, _BINARY, _BITFIELD32, _REJECT = 5, 10, 11, 16, 17
_RANGE, _WARN_TOO_LONG, _MIN, _MAX, _MASK, _RANGE_PTR = 1, 2, 3, 4, 5, 6
_ATTR_TYPE, _MIN_S, _MAX_S, _MIN_U, _MAX_U, _MIN_LENGTH, _MAX_LENGTH = range(1, 8)
_IDX, _MAXTYPE, _BITFIELD_MASK, _ATTR_MASK = 8, 9, 10, 12
_NESTED = (8, 9)
_SIZE = 16  # of a struct nla_policy


class Policies:
    """All policies that some lead to, in the order in which they are met; an index stands for each."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.found: list[tuple[int, int]] = []  # address and largest type

    def add(self, policy: int, maxtype: int) -> None:
        """Find a policy and those nested in it."""
        if (policy, maxtype) not in self.found:
            self.found.append((policy, maxtype))
        for known, most in self.found:  # which grows meanwhile
            for kind in range(most + 1):
                nested = self._nested(known + _SIZE * kind)
                if nested and nested not in self.found:
                    self.found.append(nested)

    def index(self, policy: int, maxtype: int) -> int:
        """The number of one."""
        return self.found.index((policy, maxtype))

    def _nested(self, place: int) -> tuple[int, int] | None:
        kind, _, length = struct.unpack("<BBH", self._kernel.memory.read(place, 4))
        inner = self._kernel.memory.read_u64(place + 8)
        return (inner, length) if kind in _NESTED and inner and length else None

    def attributes(self) -> Iterator[bytes]:
        """For each attribute of each policy what describes it, below its type, below the policy's index."""
        for number, (policy, maxtype) in enumerate(self.found):
            for kind in range(maxtype + 1):
                place = policy + _SIZE * kind
                nested = self._nested(place)
                more = b""
                if nested:
                    more = attribute(_IDX, self.index(*nested)) + attribute(_MAXTYPE, nested[1])
                text = describe(self._kernel, place, more)
                if text:
                    yield attribute(number | NLA_F_NESTED, attribute(kind | NLA_F_NESTED, text))


def describe(kernel: KernelCore, policy: int, nested: bytes = b"") -> bytes:
    """The attributes that describe one struct nla_policy; `nested` tells of the policy inside."""
    kind, validation, length = struct.unpack("<BBH", kernel.memory.read(policy, 4))
    parts: list[bytes] = [nested] if nested else []
    if kind in (0, _REJECT):
        return b""
    if kind in _BITS and kind != _BINARY:
        if validation == _MASK:
            mask = kernel.memory.read_u32(policy + 8)
            parts.append(attribute(_ATTR_MASK, mask, 8))
        else:
            low, high = _limits(kernel, policy, kind, validation)
            names = (_MIN_S, _MAX_S) if kind in _SIGNED else (_MIN_U, _MAX_U)
            both = zip(names, (low, high), strict=True)
            parts += [attribute(name, value & (1 << 64) - 1, 8) for name, value in both]
    elif kind == _BITFIELD32:
        parts.append(attribute(_BITFIELD_MASK, kernel.memory.read_u32(policy + 8)))
    elif kind in (_STRING, _NUL_STRING, _BINARY):
        parts += _lengths(kernel, policy, kind, validation, length)
    return b"".join([*parts, attribute(_ATTR_TYPE, _TYPES[kind])])


def _lengths(kernel: KernelCore, policy: int, kind: int, validation: int, length: int) -> list[bytes]:
    if length:
        return [attribute(_MAX_LENGTH, length)]
    if kind != _BINARY or validation == 0:
        return []
    low, high = _limits(kernel, policy, kind, validation)
    parts = [attribute(_MIN_LENGTH, low)] if low else []
    return [*parts, attribute(_MAX_LENGTH, high)] if high < 0xFFFF else parts


def _limits(kernel: KernelCore, policy: int, kind: int, validation: int) -> tuple[int, int]:
    """The least and the greatest value (nla_get_range_unsigned, nla_get_range_signed)."""
    signed, bits = kind in _SIGNED, _BITS[kind]
    low = -(1 << bits - 1) if signed else 0
    high = (1 << bits - signed) - 1
    if validation == _RANGE_PTR:
        place = kernel.memory.read_u64(policy + 8)
        low, high = struct.unpack("<qq" if signed else "<QQ", kernel.memory.read(place, 16))
    elif validation in (_RANGE, _WARN_TOO_LONG, _MIN, _MAX):
        least, most = struct.unpack("<hh", kernel.memory.read(policy + 8, 4))
        low = least if validation != _MAX else low
        high = most if validation != _MIN else high
    return low, high
