"""Snapshots of guest RAM that cost what is written, not what exists (history.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.machine.history import History, Moment
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Collection

    from kmod_emu.machine.memory import Arena, Memory

_Key = tuple[int, int]  # (arena's number, page number)


class MemorySnapshot:
    """One moment of guest RAM.

    Attributes:
        pages: What pages held.
        perms: Page permissions of each arena.
    """

    def __init__(self, pages: Moment[_Key, bytes], perms: list[bytes]) -> None:
        self.pages, self.perms = pages, perms


class SnapshotTree:
    """Takes and restores snapshots of one `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._history: History[_Key, bytes] = History(self._page)
        self._numbers: dict[int, int] = {}

    def take(self) -> MemorySnapshot:
        """Remember this moment: from here on the first write to each page keeps its old contents."""
        memory = self._memory
        snapshot = MemorySnapshot(self._history.keep(), [bytes(arena.perms) for arena in memory.arenas])
        self._numbers = {id(arena): number for number, arena in enumerate(memory.arenas)}
        memory.keep_page = self._keep
        memory.forget_writes()
        return snapshot

    def restore(self, target: MemorySnapshot) -> None:
        """Make memory what it was at `target`; snapshots on other branches stay valid.

        Raises:
            ValueError: The snapshot belongs to another machine.
        """
        memory = self._memory
        for (number, index), contents in self._history.way(target.pages).items():
            arena, start = memory.arenas[number], index << PAGE_SHIFT
            memory.forget_code(arena, index, index)
            arena.view[start : start + PAGE_SIZE] = contents
        self._history.arrive(target.pages)
        for arena, perms in zip(memory.arenas, target.perms, strict=True):
            if arena.perms != perms:
                memory.put_perms(arena, perms)
        memory.forget_writes()

    def written_since_root(self) -> set[_Key]:
        """(arena's number, page number) of every page written since the first snapshot."""
        return self._history.ever_written()

    @property
    def latest(self) -> Moment[_Key, bytes] | None:
        """The latest moment on the way to here."""
        return self._history.current

    def written_since_latest(self) -> Collection[_Key]:
        """(arena's number, page number) of every page written since that."""
        return self._history.written.keys()

    def _keep(self, arena: Arena, index: int) -> None:
        self._history.written[self._numbers[id(arena)], index] = arena.page(index)

    def _page(self, key: _Key) -> bytes:
        return self._memory.arenas[key[0]].page(key[1])
