"""Snapshots of guest RAM that cost what is written, not what exists.

Snapshots form a tree. The machine's memory is always "a snapshot plus the pages written since". Moving
to another snapshot walks the tree: every step swaps just the pages that differ along that edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.machine.memory import Arena, Memory

_Key = tuple[int, int]  # (arena's number, page number)


class MemorySnapshot:
    """One moment of guest RAM.

    Attributes:
        parent: The snapshot that memory was at before.
        perms: Page permissions of each arena.
        before: The parent's contents of the pages that differ.
        after: Ours; filled when memory moves away from us.
    """

    def __init__(self, parent: MemorySnapshot | None, perms: list[bytes], before: dict[_Key, bytes]) -> None:
        self.parent, self.perms, self.before = parent, perms, before
        self.after: dict[_Key, bytes] = {}


class SnapshotTree:
    """Takes and restores snapshots of one `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._current: MemorySnapshot | None = None
        self._written: dict[_Key, bytes] = {}  # contents at `_current` of pages written since
        self._numbers: dict[int, int] = {}

    def take(self) -> MemorySnapshot:
        """Remember this moment: from here on the first write to each page keeps its old contents."""
        memory = self._memory
        node = MemorySnapshot(self._current, [bytes(arena.perms) for arena in memory.arenas], self._written)
        self._current, self._written = node, {}
        self._numbers = {id(arena): number for number, arena in enumerate(memory.arenas)}
        memory.keep_page = self._keep
        self._forget_writes()
        return node

    def restore(self, target: MemorySnapshot) -> None:
        """Make memory what it was at `target`; snapshots on other branches stay valid.

        Raises:
            ValueError: The snapshot belongs to another machine.
        """
        there, here = _ancestry(target), _ancestry(self._current)
        if not here or there[-1] is not here[-1]:
            raise ValueError("this snapshot belongs to another machine")
        common = 1
        while common < min(len(there), len(here)) and there[-1 - common] is here[-1 - common]:
            common += 1
        self._swap(self._written)
        self._written = {}
        for step in here[:-common]:
            step.after = {key: self._page(key) for key in step.before}
            self._swap(step.before)
        for step in reversed(there[:-common]):
            self._swap(step.after)
        self._current = target
        for arena, perms in zip(self._memory.arenas, target.perms, strict=True):
            arena.perms[:] = perms
        self._forget_writes()

    def written_since_root(self) -> set[tuple[int, int]]:
        """(arena's number, page number) of every page written since the first snapshot."""
        pages = set(self._written)
        for node in _ancestry(self._current):
            pages.update(node.before)
        return pages

    def _forget_writes(self) -> None:
        for arena in self._memory.arenas:
            arena.fresh[:] = bytes(len(arena.fresh))
        self._memory.flush()

    def _keep(self, arena: Arena, index: int) -> None:
        self._written[self._numbers[id(arena)], index] = arena.page(index)

    def _page(self, key: _Key) -> bytes:
        return self._memory.arenas[key[0]].page(key[1])

    def _swap(self, pages: dict[_Key, bytes]) -> None:
        for (number, index), contents in pages.items():
            arena, start = self._memory.arenas[number], index << PAGE_SHIFT
            self._memory.forget_code(arena, index, index)
            arena.view[start : start + PAGE_SIZE] = contents


def _ancestry(node: MemorySnapshot | None) -> list[MemorySnapshot]:
    """The snapshot and all its ancestors, nearest first; none of None."""
    chain = []
    while node is not None:
        chain.append(node)
        node = node.parent
    return chain
