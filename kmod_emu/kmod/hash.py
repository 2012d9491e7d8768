"""The order in which kmod walks its hash tables (kmod 30, shared/hash.c).

Some of depmod's files list things in that order, so whoever wants the same files needs the same order. The
hash is Paul Hsieh's SuperFastHash; a bucket is sorted by key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = 0xFFFF_FFFF


def in_order(keys: Iterable[bytes], buckets: int) -> list[bytes]:
    """Distinct keys as a table of so many buckets, a power of two, gives them.

    >>> in_order([b"hello", b"ext4", b"btrfs"], 512)
    [b'hello', b'btrfs', b'ext4']
    """
    mask = buckets - 1
    return [key for _, key in sorted((_superfast(key) & mask, key) for key in keys)]


def _superfast(key: bytes) -> int:
    value = len(key)
    tail = len(key) & ~3
    for at in range(0, tail, 4):
        value += key[at] | key[at + 1] << 8
        value = (value << 16 ^ (key[at + 2] | key[at + 3] << 8) << 11 ^ value) & _WORD
        value += value >> 11
    match len(key) & 3:
        case 3:
            value += key[tail] | key[tail + 1] << 8
            value ^= value << 16 ^ _signed(key[tail + 2]) << 18
            value &= _WORD
            value += value >> 11
        case 2:
            value += key[tail] | key[tail + 1] << 8
            value = (value ^ value << 11) & _WORD
            value += value >> 17
        case 1:
            value += _signed(key[tail])
            value = (value ^ value << 10) & _WORD
            value += value >> 1
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) & _WORD
        value += value >> right
    return value & _WORD


def _signed(byte: int) -> int:
    """A `char`."""
    return byte - 256 if byte > 127 else byte
