"""Large tables in saved state: in memory a copy that costs little, in a file a list of pairs."""

from __future__ import annotations

from typing import Any


class Pairs:
    """A table by numbers, as it was at a moment.

    >>> table = {1: 2}
    >>> kept = Pairs(table)
    >>> table[1] = 3
    >>> read_pairs(kept), read_pairs([[1, 2]])
    ({1: 2}, {1: 2})
    """

    def __init__(self, table: dict[int, Any]) -> None:
        self._table = table.copy()

    def copy(self) -> dict[int, Any]:
        """The table."""
        return self._table.copy()


def read_pairs(state: Any) -> dict[int, Any]:
    """The table that was kept, or that a file has."""
    return state.copy() if isinstance(state, Pairs) else dict(state)


def to_json(value: object) -> Any:
    """What json.dumps() is to write for tables and sets.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, Pairs):
        return list(value.copy().items())
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} is no plain data")
