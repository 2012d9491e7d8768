"""The binary indexes modules.*.bin: a compressed trie, keys to values (kmod 30, libkmod/libkmod-index.c).

A file is a magic, a version and the root node's place, all big-endian 32-bit, then the nodes, children
before their parents. A place is an offset whose top bits say what the node has, in this order: a prefix that
all keys below it go on with, children for a range of bytes, values with priorities. Keys may be wildcard
patterns; a search walks the trie until a wildcard and from there on tries the patterns below it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.fnmatch import fnmatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEADER = struct.Struct(">III")
_MAGIC, _VERSION = 0xB007F457, 0x00020001
_PREFIX, _VALUES, _CHILDREN, _OFFSET = 0x80000000, 0x40000000, 0x20000000, 0x0FFFFFFF
_LONG = struct.Struct(">I")
_WILDCARDS = b"*?["


class Value(NamedTuple):
    """What a key means; values of less priority come first."""

    priority: int
    text: bytes


class _Open(NamedTuple):
    """A node of which not all children are known yet."""

    depth: int  # how long its key is
    values: list[Value]
    children: list[tuple[int, int]]  # byte, place


def build(entries: Iterable[tuple[bytes, bytes, int]]) -> bytes:
    """The index of keys, values and priorities.

    Of equal priorities, the value that came last is first, as in kmod.

    Raises:
        ValueError: A key or value has a byte that is no 7-bit ASCII.
    """
    table: dict[bytes, list[Value]] = {}
    for key, text, priority in entries:
        if not (key.isascii() and text.isascii()):
            raise ValueError(key if not key.isascii() else text)
        table.setdefault(key, []).append(Value(priority, text))
    out = bytearray(_HEADER.size)
    stack = [_Open(0, _ordered(table.pop(b"", [])), [])]
    previous = b""
    for key in sorted(table):
        shared = _common(previous, key)
        _close(out, stack, previous, shared)
        stack.append(_Open(len(key), _ordered(table[key]), []))
        previous = key
    _close(out, stack, previous, 0)
    _HEADER.pack_into(out, 0, _MAGIC, _VERSION, _write(out, stack[0], b""))
    return bytes(out)


def _ordered(values: list[Value]) -> list[Value]:
    if len(values) > 1:
        values.reverse()
        values.sort(key=lambda value: value.priority)
    return values


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two keys begin with in common."""
    limit = min(len(one), len(other))
    if one[:limit] == other[:limit]:
        return limit
    low, high = 0, limit  # equal up to low, different before high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _close(out: bytearray, stack: list[_Open], key: bytes, depth: int) -> None:
    """Write the nodes on the way to `key` that are deeper than `depth`; one of that depth stays open."""
    while stack[-1].depth > depth:
        node = stack.pop()
        if stack[-1].depth < depth:
            stack.append(_Open(depth, [], []))
        parent = stack[-1]
        place = _write(out, node, key[parent.depth + 1 : node.depth])
        parent.children.append((key[parent.depth], place))


def _write(out: bytearray, node: _Open, prefix: bytes) -> int:
    """Append a node; returns its place."""
    place = len(out)
    if prefix:
        out += prefix + b"\0"
        place |= _PREFIX
    if node.children:
        first, last = node.children[0][0], node.children[-1][0]
        places = [0] * (last - first + 1)
        for byte, child in node.children:
            places[byte - first] = child
        out += struct.pack(f">BB{len(places)}I", first, last, *places)
        place |= _CHILDREN
    if node.values:
        out += _LONG.pack(len(node.values))
        for priority, text in node.values:
            out += _LONG.pack(priority) + text + b"\0"
        place |= _VALUES
    return place


class _Node(NamedTuple):
    prefix: bytes
    first: int
    places: list[int]
    values: list[Value]

    def children(self) -> Iterator[tuple[int, int]]:
        """Byte and place of each child there is."""
        return ((self.first + at, place) for at, place in enumerate(self.places) if place & _OFFSET)


class Index:
    """An index file in memory.

    Raises:
        ValueError: The bytes are no index.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise ValueError("too short")
        magic, version, self._root = _HEADER.unpack_from(data)
        if magic != _MAGIC or version >> 16 != _VERSION >> 16:
            raise ValueError("not an index")
        self._data = data

    def search(self, key: bytes) -> bytes | None:
        """The first value of a key that is no pattern."""
        place = self._root
        while place & _OFFSET:
            node = self._read(place)
            if not key.startswith(node.prefix):
                return None
            key = key[len(node.prefix) :]
            if not key:
                return node.values[0].text if node.values else None
            place, key = self._child(node, key[0]), key[1:]
        return None

    def searchwild(self, key: bytes) -> list[bytes]:
        """The values of all patterns that match."""
        found: list[Value] = []
        self._descend(key, found)
        ordered: list[Value] = []
        for value in found:  # before those of the same priority
            at = next(
                (i for i, other in enumerate(ordered) if other.priority >= value.priority), len(ordered)
            )
            ordered.insert(at, value)
        return [value.text for value in ordered]

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, in the order of the keys."""
        if self._root & _OFFSET:
            yield from self._below(self._root, b"")

    def _descend(self, key: bytes, found: list[Value]) -> None:
        place = self._root
        while place & _OFFSET:
            node = self._read(place)
            for at, byte in enumerate(node.prefix):
                if byte in _WILDCARDS:
                    self._match(place, b"", at, key[at:], found)
                    return
                if key[at : at + 1] != bytes([byte]):
                    return
            key = key[len(node.prefix) :]
            for wildcard in _WILDCARDS:
                child = self._child(node, wildcard)
                if child:
                    self._match(child, bytes([wildcard]), 0, key, found)
            if not key:
                found += node.values
                return
            place, key = self._child(node, key[0]), key[1:]

    def _match(self, place: int, pattern: bytes, skip: int, key: bytes, found: list[Value]) -> None:
        """Add the values of the patterns in a subtree that match: children first, in order."""
        stack = [(place, pattern, skip)]
        matches = []
        while stack:
            place, pattern, skip = stack.pop()
            node = self._read(place)
            pattern += node.prefix[skip:]
            if node.values and fnmatch(pattern, key):
                matches.append(node.values)
            stack += ((child, pattern + bytes([byte]), 0) for byte, child in node.children())
        for values in reversed(matches):
            found += values

    def _below(self, place: int, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        stack = [(place, key)]
        while stack:
            place, key = stack.pop()
            node = self._read(place)
            key += node.prefix
            yield from ((key, value.text) for value in node.values)
            stack += reversed([(child, key + bytes([byte])) for byte, child in node.children()])

    def _child(self, node: _Node, byte: int) -> int:
        at = byte - node.first
        return node.places[at] if 0 <= at < len(node.places) else 0

    def _read(self, place: int) -> _Node:
        try:
            return self._parse(place)
        except (struct.error, IndexError):
            raise ValueError("a node lies outside the file") from None

    def _parse(self, place: int) -> _Node:
        data, at = self._data, place & _OFFSET
        prefix, first, places, values = b"", 0, [], []
        if place & _PREFIX:
            end = data.index(b"\0", at)
            prefix, at = data[at:end], end + 1
        if place & _CHILDREN:
            first, last = data[at], data[at + 1]
            count = last - first + 1
            places = list(struct.unpack_from(f">{count}I", data, at + 2))
            if any(child & _OFFSET >= place & _OFFSET for child in places):
                raise ValueError("a node before its children")  # would go round in circles
            at += 2 + 4 * count
        if place & _VALUES:
            (count,) = _LONG.unpack_from(data, at)
            at += 4
            for _ in range(count):
                (priority,) = _LONG.unpack_from(data, at)
                end = data.index(b"\0", at + 4)
                values.append(Value(priority, data[at + 4 : end]))
                at = end + 1
        return _Node(prefix, first, places, values)
