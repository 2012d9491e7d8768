"""Moments of a store of values by keys: to keep one, and to go to one, costs what is written.

Moments form a tree. The store is always "a moment plus what was written since". From one moment to another
the way leads through the tree; only what differs along it is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_K = TypeVar("_K")
_V = TypeVar("_V")


class Moment(Generic[_K, _V]):
    """One moment of a store.

    Attributes:
        parent: The moment that the store was at before.
        before: The parent's values of what differs.
        after: Ours; filled when the store leaves us.
    """

    __slots__ = ("after", "before", "parent")

    def __init__(self, parent: Moment[_K, _V] | None, before: dict[_K, _V]) -> None:
        self.parent, self.before = parent, before
        self.after: dict[_K, _V] = {}


class History(Generic[_K, _V]):
    """Keeps moments of one store.

    Attributes:
        current: The latest moment on the way to here, None before the first.
        written: Values at that moment of what was written since; whoever writes to the store adds them.

    Args:
        read: What the store has of a key.
    """

    def __init__(self, read: Callable[[_K], _V]) -> None:
        self._read = read
        self.current: Moment[_K, _V] | None = None
        self.written: dict[_K, _V] = {}

    def keep(self) -> Moment[_K, _V]:
        """Remember this moment."""
        moment = self.current = Moment(self.current, self.written)
        self.written = {}
        return moment

    def knows(self, moment: Moment[_K, _V]) -> bool:
        """Whether a moment is one of this store's."""
        here = _ancestry(self.current)
        return bool(here) and _ancestry(moment)[-1] is here[-1]

    def way(self, target: Moment[_K, _V]) -> dict[_K, _V]:
        """What is to be written to be at a moment.

        Raises:
            ValueError: It is of another store.
        """
        there, here = _ancestry(target), _ancestry(self.current)
        if not here or there[-1] is not here[-1]:
            raise ValueError("this moment belongs to another machine")
        common = 1
        while common < min(len(there), len(here)) and there[-1 - common] is here[-1 - common]:
            common += 1
        changes = self.written.copy()
        for step in here[:-common]:
            step.after = {key: changes[key] if key in changes else self._read(key) for key in step.before}
            changes.update(step.before)
        for step in reversed(there[:-common]):
            changes.update(step.after)
        return changes

    def arrive(self, target: Moment[_K, _V]) -> None:
        """All that is on the way to a moment has been written."""
        self.current, self.written = target, {}

    def ever_written(self) -> set[_K]:
        """All keys that were written since the first moment, on the way to here."""
        keys = set(self.written)
        for moment in _ancestry(self.current):
            keys.update(moment.before)
        return keys


def _ancestry(moment: Moment[_K, _V] | None) -> list[Moment[_K, _V]]:
    """The moment and all its ancestors, nearest first; none of None."""
    chain = []
    while moment is not None:
        chain.append(moment)
        moment = moment.parent
    return chain
