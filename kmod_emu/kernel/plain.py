"""Large tables in saved state: to keep one, and to go back to it, costs what was changed."""

from __future__ import annotations

from typing import Any

from kmod_emu.machine.history import History, Moment


class Table(dict[int, int]):
    """Numbers by numbers. Entries are set one by one, and taken away by `del` and `pop`.

    >>> table = Table()
    >>> table[1] = 2
    >>> kept = table.keep()
    >>> table[1], table[3] = 3, 4
    >>> table.put_back(kept)
    >>> table
    {1: 2}
    >>> table.put_back([[1, 5]])
    >>> table
    {1: 5}
    """

    def __init__(self) -> None:
        super().__init__()
        self._history: History[int, int | None] = History(self.get)
        self._written: dict[int, int | None] = {}

    def keep(self) -> Kept:
        """What it is now, for `put_back` and `to_json`."""
        history = self._history
        moment = history.current if history.current is not None and not history.written else history.keep()
        self._written = history.written
        self.__class__ = _Watched
        return Kept(self, moment)

    def put_back(self, state: Any) -> None:
        """Make it what it was when it was kept, or what a file has: a list of pairs."""
        if isinstance(state, Kept) and state.table is self and self._history.knows(state.moment):
            for key, value in self._history.way(state.moment).items():
                if value is not None:
                    dict.__setitem__(self, key, value)
                elif key in self:
                    dict.__delitem__(self, key)
            self._history.arrive(state.moment)
            self._written = self._history.written
            return
        found = state.pairs() if isinstance(state, Kept) else state
        self.clear()
        self.update(found)
        self._history = History(self.get)
        self.__class__ = Table

    def at(self, moment: Moment[int, int | None]) -> dict[int, int]:
        """What it was at a moment."""
        table: dict[int, int | None] = {**self, **self._history.way(moment)}
        return {key: value for key, value in table.items() if value is not None}


class _Watched(Table):
    """A table of which something is kept, so that it notes what changes; others are as fast as a dict."""

    def __setitem__(self, key: int, value: int) -> None:
        if key not in self._written:
            self._written[key] = self.get(key)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: int) -> None:
        if key not in self._written:
            self._written[key] = self.get(key)
        dict.__delitem__(self, key)

    def pop(self, key: int, default: Any = None) -> Any:
        """What was there, which is taken away."""
        if key in self and key not in self._written:
            self._written[key] = self[key]
        return dict.pop(self, key, default)


class Kept:
    """What a table was at a moment."""

    __slots__ = ("moment", "table")

    def __init__(self, table: Table, moment: Moment[int, int | None]) -> None:
        self.table, self.moment = table, moment

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        return self.table.at(self.moment) == other.table.at(other.moment)

    __hash__ = None  # type: ignore[assignment]  # of what changes

    def pairs(self) -> list[tuple[int, int]]:
        """Its entries."""
        return list(self.table.at(self.moment).items())


def to_json(value: object) -> Any:
    """What json.dumps() is to write for tables and sets.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, Kept):
        return value.pairs()
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no plain data")
