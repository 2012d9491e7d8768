"""BTF, the type information that a kernel and its modules carry: structure layouts and prototypes.

The format is described in the kernel's Documentation/bpf/btf.rst. A kernel's BTF has some 130,000 types;
reading it only finds where each begins, and a type is looked into when somebody asks for it.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING

from kmod_emu.abi.layout import Member, StructLayout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BadBtf", "Btf"]

_HEADER = struct.Struct("<HBBIIIII")  # magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
_MAGIC = 0xEB9F

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = range(1, 12)
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = range(12, 20)
_COMPOUNDS = (_STRUCT, _UNION)  # of two with one name the structure is meant
_COMPOUND = frozenset(_COMPOUNDS)
_ALIASES = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_SIZED = frozenset({_INT, _STRUCT, _UNION, _ENUM, _DATASEC, _FLOAT, _ENUM64})
_QUALIFIERS = {_CONST: "const", _VOLATILE: "volatile", _RESTRICT: "restrict"}
_TAGS = {_STRUCT: "struct ", _UNION: "union ", _ENUM: "enum ", _ENUM64: "enum "}

# Kind -> 32-bit words after the three that every type has: fixed, and for each of its vlen elements.
_FIXED = {_INT: 1, _ARRAY: 3, _VAR: 1, _DECL_TAG: 1}
_EACH = {_STRUCT: 3, _UNION: 3, _ENUM: 2, _FUNC_PROTO: 2, _DATASEC: 3, _ENUM64: 3}
_POINTER_SIZE = 8
_FEW = 6  # searches cost as much as a table of all names
_DEPTH = 64  # of types within types; more is a loop


class BadBtf(ValueError):
    """Not BTF, or damaged."""


class Btf:
    """The types of a kernel, or with `base` those that a module adds to its kernel's.

    Args:
        data: The contents of a .BTF section or of /sys/kernel/btf/vmlinux.
        base: The kernel's, for a module's split BTF.

    Raises:
        BadBtf: It is none; the text says why.
    """

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        if len(data) < _HEADER.size:
            raise BadBtf("too short for BTF")
        magic, version, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != 1:
            raise BadBtf(f"not BTF of a little-endian machine (magic {magic:#x}, version {version})")
        if (
            types % 4
            or types_size % 4
            or header + max(types + types_size, strings + strings_size) > len(data)
        ):
            raise BadBtf("BTF that ends before its tables do")
        self._base = base
        self._strings = data[header + strings : header + strings + strings_size]
        self._string_base: int = base.string_end if base else 0
        self.string_end: int = self._string_base + strings_size
        self._types = data[header + types : header + types + types_size]
        self._words = array("I", self._types)
        self._first: int = base.count if base else 1
        self._starts = self._find_types()
        self._tables: dict[tuple[int, ...], dict[str, int]] = {}  # by kinds: name -> number
        self._asked = 0
        self.count: int = self._first + len(self._starts)

    def _find_types(self) -> list[int]:
        """The word at which each type begins."""
        words, starts, position = self._words, [], 0
        fixed = [3 + _FIXED.get(kind, 0) for kind in range(_ENUM64 + 1)]
        each = [_EACH.get(kind, 0) for kind in range(_ENUM64 + 1)]
        end = len(words)
        try:
            while position < end:
                starts.append(position)
                info = words[position + 1]
                kind = info >> 24 & 0x1F
                position += fixed[kind] + each[kind] * (info & 0xFFFF)
        except IndexError:
            raise BadBtf(
                f"BTF type {self._first + len(starts) - 1} is of an unknown kind or cut off"
            ) from None
        if position != end:
            raise BadBtf("BTF whose last type is cut off")
        return starts

    # ------------------------------------------------------------------ raw types

    def _type(self, number: int) -> tuple[Btf, int]:
        """The table that a type is in, and the word at which it begins."""
        index = number - self._first
        if index >= 0:
            if index >= len(self._starts):
                raise BadBtf(f"BTF type {number} does not exist")
            return self, self._starts[index]
        if self._base is None:
            raise BadBtf(f"BTF type {number} does not exist")
        return self._base._type(number)

    def _string(self, offset: int) -> str:
        if offset < self._string_base and self._base is not None:
            return self._base._string(offset)
        start = offset - self._string_base
        end = self._strings.find(b"\0", start)
        if not 0 <= start <= end:
            raise BadBtf(f"BTF string {offset} does not exist")
        return self._strings[start:end].decode("utf-8", "backslashreplace")

    def _head(self, number: int) -> tuple[int, str, int]:
        """Kind, name and size or type of a type; kind 0 is void."""
        if number == 0:
            return 0, "void", 0
        table, at = self._type(number)
        return table._words[at + 1] >> 24 & 0x1F, self._string(table._words[at]), table._words[at + 2]

    def _kind(self, number: int) -> tuple[int, int]:
        """Kind and size or type of a type."""
        if number == 0:
            return 0, 0
        table, at = self._type(number)
        return table._words[at + 1] >> 24 & 0x1F, table._words[at + 2]

    def _resolve(self, number: int) -> int:
        """Follow typedefs and qualifiers to the type itself."""
        for _ in range(_DEPTH):
            kind, target = self._kind(number)
            if kind not in _ALIASES:
                return number
            number = target
        raise BadBtf(f"BTF type {number} refers to itself")

    def size(self, number: int, depth: int = 0) -> int:
        """The size of a type in bytes; 0 where it has none."""
        if depth > _DEPTH:
            raise BadBtf(f"BTF type {number} refers to itself")
        number = self._resolve(number)
        kind, size = self._kind(number)
        if kind in _SIZED:
            return size
        if kind == _PTR:
            return _POINTER_SIZE
        if kind == _ARRAY:
            table, at = self._type(number)
            return self.size(table._words[at + 3], depth + 1) * table._words[at + 5]
        return 0

    # ------------------------------------------------------------------ structures

    def _table(self, kinds: tuple[int, ...]) -> dict[str, int]:
        if kinds not in self._tables:
            self._tables[kinds] = self._named(kinds)
        return self._tables[kinds]

    def _number(self, name: str, kinds: tuple[int, ...]) -> int | None:
        """The number that `_table` gives a name; a few are looked for one by one, which costs less."""
        self._asked += 1
        if self._asked > _FEW or kinds in self._tables:
            return self._table(kinds).get(name)
        found, text = [], b"\0%b\0" % name.encode()
        place = self._strings.find(text) if name else -1
        while place >= 0:
            wanted = (self._string_base + place + 1).to_bytes(4, "little")
            at = self._types.find(wanted)
            while at >= 0:
                index = bisect_left(self._starts, at // 4)
                if index < len(self._starts) and 4 * self._starts[index] == at:
                    kind = self._words[at // 4 + 1] >> 24 & 0x1F
                    if kind in kinds:
                        found.append((kinds.index(kind), self._first + index))
                at = self._types.find(wanted, at + 1)
            place = self._strings.find(text, place + 1)
        return min(found)[1] if found else None

    def _named(self, kinds: tuple[int, ...]) -> dict[str, int]:
        """Name -> number of the types of these kinds, of two with one name the first; kinds come in order."""
        words, string = self._words, self._string
        found: dict[str, int] = {}
        for kind in kinds:
            for index, at in enumerate(self._starts):
                if words[at + 1] >> 24 & 0x1F == kind and words[at]:
                    found.setdefault(string(words[at]), self._first + index)
        return found

    @property
    def structs(self) -> Mapping[str, int]:
        """The tags of all structures and unions, without those of the base -> type numbers."""
        return self._table(_COMPOUNDS)

    @property
    def functions(self) -> Mapping[str, int]:
        """The names of all functions, without those of the base -> type numbers."""
        return self._table((_FUNC,))

    def layout(self, name: str, release: str = "") -> StructLayout | None:
        """The layout of a structure or union, by its tag, else its typedef; None if there is none."""
        number = self._number(name, _COMPOUNDS)
        if number is None:
            number = self._number(name, (_TYPEDEF,))
            if number is None or self._kind(number := self._resolve(number))[0] not in _COMPOUND:
                return self._base.layout(name, release) if self._base else None
        members = {member: place for member, place, _ in self._members(number) if member}
        return StructLayout(name, self._kind(number)[1], members, release)

    def member_types(self, name: str) -> dict[str, str]:
        """Member -> its C type, for the members that `layout` gives."""
        number = self._table(_COMPOUNDS)[name]
        return {member: self.declare(kind) for member, _, kind in self._members(number) if member}

    def typedef(self, name: str) -> str | None:
        """The C type that a typedef stands for; None if there is none of that name."""
        number = self._number(name, (_TYPEDEF,))
        if number is None:
            return self._base.typedef(name) if self._base else None
        return self.declare(self._kind(number)[1])

    def _members(self, number: int, base: int = 0, depth: int = 0) -> Iterator[tuple[str, Member, int]]:
        """Name, place and type of each member; inner structures without a name give theirs."""
        if depth > _DEPTH:
            raise BadBtf(f"BTF type {number} contains itself")
        table, at = self._type(number)
        words = table._words
        info = words[at + 1]
        for element in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
            name_at, kind, where = words[element : element + 3]
            bits, where = (where >> 24, where & 0xFFFFFF) if info >> 31 else (0, where)
            if not name_at:
                inner = self._resolve(kind)
                if self._kind(inner)[0] in _COMPOUND:
                    yield from self._members(inner, base + where // 8, depth + 1)
                continue
            size = self.size(kind)
            if bits and not size:
                raise BadBtf(f"a bit-field in BTF type {number} is of a type without a size")
            if bits:
                unit = where // (8 * size) * size
                yield self._string(name_at), Member(base + unit, size, where - 8 * unit, bits), kind
            else:
                yield self._string(name_at), Member(base + where // 8, size), kind

    # ------------------------------------------------------------------ per-CPU variables

    @cached_property
    def _percpu(self) -> tuple[dict[str, int], int]:
        """The offsets of per-CPU variables, and the size of them all."""
        words, offsets, end = self._words, {}, 0
        for at in self._starts:
            if words[at + 1] >> 24 & 0x1F != _DATASEC or self._string(words[at]) != ".data..percpu":
                continue
            for element in range(at + 3, at + 3 + 3 * (words[at + 1] & 0xFFFF), 3):
                variable, offset, size = words[element : element + 3]
                offsets[self._head(variable)[1]] = offset
                end = max(end, offset + size)
        return offsets, end

    def percpu_offset(self, name: str) -> int | None:
        """Where a per-CPU variable of the kernel lies in the per-CPU area; None for anything else."""
        return self._percpu[0].get(name)

    def percpu_size(self) -> int:
        """Bytes of the kernel's per-CPU variables, to the end of the last page."""
        return self._percpu[1] + 4095 & ~4095

    # ------------------------------------------------------------------ C text

    def prototype(self, name: str) -> str | None:
        """The C prototype of a function, "void kfree(const void *object)"; None if it is unknown."""
        number = self._number(name, (_FUNC,))
        if number is None:
            return self._base.prototype(name) if self._base else None
        return self.declare(self._kind(number)[1], name)

    def declare(self, number: int, name: str = "", depth: int = 0) -> str:
        """C text that declares `name` with a type; the type's own text without a name.

        >>> # declare(work_func_t's target, "*func") gives "void (*func)(struct work_struct *)"
        """
        if depth > _DEPTH:
            raise BadBtf(f"BTF type {number} refers to itself")
        kind, own, target = self._head(number)
        if kind == _PTR:
            pointed = self._kind(target)[0]
            inner = f"(*{name})" if pointed in (_ARRAY, _FUNC_PROTO) else f"*{name}"
            return self.declare(target, inner, depth + 1)
        if kind == _TYPE_TAG:
            return self.declare(target, name, depth + 1)
        if kind in _QUALIFIERS:
            if self._kind(target)[0] == _PTR:
                return self.declare(target, f"{_QUALIFIERS[kind]} {name}".rstrip(), depth + 1)
            return f"{_QUALIFIERS[kind]} {self.declare(target, name, depth + 1)}"
        if kind == _ARRAY:
            table, at = self._type(number)
            return self.declare(table._words[at + 3], f"{name}[{table._words[at + 5]}]", depth + 1)
        if kind == _FUNC_PROTO:
            return self.declare(target, f"{name}({self._parameters(number, depth)})", depth + 1)
        if kind == _FWD:
            table, at = self._type(number)
            own = ("union " if table._words[at + 1] >> 31 else "struct ") + own
        text = _TAGS.get(kind, "") + (own or "{...}")
        return f"{text} {name}" if name else text

    def _parameters(self, number: int, depth: int) -> str:
        table, at = self._type(number)
        words = table._words
        parts = []
        for element in range(at + 3, at + 3 + 2 * (words[at + 1] & 0xFFFF), 2):
            name_at, kind = words[element], words[element + 1]
            if kind == 0 and not name_at:
                parts.append("...")
            else:
                parts.append(self.declare(kind, self._string(name_at), depth + 1))
        return ", ".join(parts) or "void"
