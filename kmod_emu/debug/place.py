"""Places in the time of a debugged run.

The run is one sequence of instructions, cut into stretches: a new one begins whenever guest code has called
Python, and whenever the scheduler starts guest code. Counting stretches costs next to nothing; instructions
are counted only when somebody wants to go back.
"""

from __future__ import annotations

from typing import NamedTuple


class WatchedRange(NamedTuple):
    """Bytes that are watched: by address, size and kind."""

    address: int
    size: int
    kind: str


class Armed(NamedTuple):
    """What can make an event: addresses of breakpoints, and watched bytes."""

    addresses: frozenset[int] = frozenset()
    watched: tuple[WatchedRange, ...] = ()


class Place(NamedTuple):
    """A moment between two instructions.

    Attributes:
        stretch: Number of the stretch.
        steps: Instructions since its beginning, or since `mark`.
        mark: Where counting began, if not at the beginning of the stretch.
    """

    stretch: int
    steps: int = 0
    mark: Mark | None = None

    @property
    def exact(self) -> bool:
        """Whether its distance from the beginning of the stretch is known."""
        return self.mark is None


class Mark(NamedTuple):
    """A moment known by what happened: so many events after `base`, in the same stretch, with this armed."""

    base: Place
    armed: Armed
    events: int
