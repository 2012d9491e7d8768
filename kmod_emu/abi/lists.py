"""The kernel's linked lists in guest memory (include/linux/list.h).

A `struct list_head` is two pointers, next and prev; a list is a ring through its head. An hlist's head is one
pointer, and a node holds next and the address of the pointer that points to it. The shape is the same in all
releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.machine.memory import Memory

__all__ = [
    "LIST_POISON1",
    "LIST_POISON2",
    "ListCorruption",
    "add",
    "add_tail",
    "delete",
    "delete_init",
    "empty",
    "hlist_add_head",
    "hlist_delete",
    "hlist_walk",
    "init",
    "walk",
]

# include/linux/poison.h, with CONFIG_ILLEGAL_POINTER_VALUE of x86-64
LIST_POISON1 = 0xDEAD000000000100
LIST_POISON2 = 0xDEAD000000000122

_PREV = 8  # offset of prev, and of an hlist node's pprev


class _Words(Protocol):
    """Where lists are read: guest memory, or what notes what is read there."""

    def read_u64(self, address: int) -> int:
        """A word."""


class ListCorruption(Exception):
    """A list in guest memory that does not lead back to its head."""


def init(memory: Memory, head: int) -> None:
    """INIT_LIST_HEAD: make an empty list, or an entry that is on none."""
    memory.write_u64(head, head)
    memory.write_u64(head + _PREV, head)


def add(memory: Memory, new: int, head: int) -> None:
    """list_add: insert an entry right after the head."""
    _insert(memory, new, head, memory.read_u64(head))


def add_tail(memory: Memory, new: int, head: int) -> None:
    """list_add_tail: insert an entry before the head, that is at the end."""
    _insert(memory, new, memory.read_u64(head + _PREV), head)


def _insert(memory: Memory, new: int, before: int, after: int) -> None:
    memory.write_u64(after + _PREV, new)
    memory.write_u64(new, after)
    memory.write_u64(new + _PREV, before)
    memory.write_u64(before, new)


def delete(memory: Memory, entry: int) -> None:
    """list_del: take an entry out and poison its pointers, so that a later use of them faults."""
    _unlink(memory, entry)
    memory.write_u64(entry, LIST_POISON1)
    memory.write_u64(entry + _PREV, LIST_POISON2)


def delete_init(memory: Memory, entry: int) -> None:
    """list_del_init: take an entry out and make it an empty list."""
    _unlink(memory, entry)
    init(memory, entry)


def _unlink(memory: Memory, entry: int) -> None:
    after, before = memory.read_u64(entry), memory.read_u64(entry + _PREV)
    memory.write_u64(after + _PREV, before)
    memory.write_u64(before, after)


def empty(memory: Memory, head: int) -> bool:
    """list_empty: whether the head points to itself."""
    return memory.read_u64(head) == head


def walk(memory: _Words, head: int, limit: int = 1_000_000) -> Iterator[int]:
    """The addresses of the entries' list_heads in order; the entry just given may be deleted.

    Args:
        memory: Guest memory; its PageFault on a wild pointer passes through.
        head: The list's head.
        limit: How many entries at most.

    Raises:
        ListCorruption: A NULL or poisoned pointer, a circle that does not lead back to the head, or more
            entries than the limit.
    """
    entry = memory.read_u64(head)
    mark, lap = 0, 1  # Brent: where one of the entries was, as many steps ago as `lap` at most
    for count in range(limit):
        if entry == head:
            return
        _check(entry, head)
        if entry == mark:
            raise ListCorruption(f"the list at {head:#x} goes round in a circle")
        if count == lap:
            mark, lap = entry, 2 * lap
        following = memory.read_u64(entry)
        yield entry
        entry = following
    if entry != head:
        raise ListCorruption(f"the list at {head:#x} does not end after {limit} entries")


def _check(entry: int, head: int) -> None:
    if entry == 0:
        raise ListCorruption(f"NULL pointer in the list at {head:#x}: a head or entry was not initialised")
    if entry in (LIST_POISON1, LIST_POISON2):
        raise ListCorruption(f"the list at {head:#x} runs into a deleted entry")


def hlist_add_head(memory: Memory, node: int, head: int) -> None:
    """hlist_add_head: insert a node at the front."""
    first = memory.read_u64(head)
    memory.write_u64(node, first)
    if first:
        memory.write_u64(first + _PREV, node)
    memory.write_u64(head, node)
    memory.write_u64(node + _PREV, head)


def hlist_delete(memory: Memory, node: int) -> None:
    """hlist_del: take a node out and poison its pointers."""
    following, pprev = memory.read_u64(node), memory.read_u64(node + _PREV)
    memory.write_u64(pprev, following)
    if following:
        memory.write_u64(following + _PREV, pprev)
    memory.write_u64(node, LIST_POISON1)
    memory.write_u64(node + _PREV, LIST_POISON2)


def hlist_walk(memory: _Words, head: int, limit: int = 1_000_000) -> Iterator[int]:
    """The addresses of an hlist's nodes in order; the node just given may be deleted.

    Raises:
        ListCorruption: A poisoned pointer, a circle, or more nodes than the limit.
    """
    node = memory.read_u64(head)
    mark, lap = 0, 1
    for count in range(limit):
        if node == 0:
            return
        _check(node, head)
        if node == mark:
            raise ListCorruption(f"the hlist at {head:#x} goes round in a circle")
        if count == lap:
            mark, lap = node, 2 * lap
        following = memory.read_u64(node)
        yield node
        node = following
    if node:
        raise ListCorruption(f"the hlist at {head:#x} does not end after {limit} nodes")
