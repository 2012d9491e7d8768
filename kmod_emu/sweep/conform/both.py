"""One module of a comparison of the two loaders, as worker processes do it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.sweep.conform.seen import Conformity
from kmod_emu.sweep.one import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kmod_emu.sweep.tree import Target

ALIKE, DIFFERS = "alike", "differs"


class Pair(NamedTuple):
    """How the two machines are made.

    Attributes:
        base: The vmlinuz.
        time_limit: Processor seconds that guest code may run without returning.
        skip: Initcalls that the kernel boots without.
    """

    base: str
    time_limit: float
    skip: tuple[str, ...] = ()

    def machine(self) -> Both:
        """Both machines.

        Raises:
            BadImage, BootFailed, OSError: The vmlinuz is none, or does not boot.
        """
        return Both(self)

    def blank(self, target: Target) -> dict[str, Any]:
        """The row of a module that was not even tried."""
        row = {"module": target.name, "path": target.path, "kernel": self.base, "outcome": None}
        return row | {"rc": None, "differences": [], "reason": None, "total_s": None}


class Both:
    """Two machines on which one module after another is loaded.

    Args:
        pair: How they are made.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._both = Conformity(pair.base, skip=pair.skip)
        for machine in self._both.machines:
            machine.kernel.cpu.watchdog.limit = pair.time_limit

    def sweep(self, target: Target) -> dict[str, Any]:
        """Load a module with what it needs by both loaders, and say what differs."""
        row, began = self._pair.blank(target), time.perf_counter()
        try:
            ours, differences = self._both.load(target.file, target.needs)
        except OSError as error:
            row |= {"outcome": UNREADABLE, "reason": f"{error.filename or target.file}: {error.strerror}"}
        else:
            outcome = DIFFERS if differences else ALIKE
            row |= {"outcome": outcome, "rc": ours.rc, "differences": differences}
        return row | {"total_s": round(time.perf_counter() - began, 6)}


def conformity(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines: how many came to which end, and in what most of them differ."""
    rows = list(rows)
    for outcome, count in Counter(row["outcome"] for row in rows).most_common():
        found = [row for row in rows if row["outcome"] == outcome]
        if outcome == ALIKE:
            yield f"{count:6} of {len(rows)} are loaded alike"
        elif outcome == DIFFERS:
            kinds = Counter(kind for row in found for kind in {_kind(each) for each in row["differences"]})
            most = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common(10))
            yield f"{count:6} differ: {most}"
        else:
            yield f"{count:6} {outcome}: " + ", ".join(row["module"] for row in found[:10])


def _kind(difference: str) -> str:
    """What differs: a section's name without the place in it, "dmesg", "rc"."""
    return difference.partition(":")[0].partition("+")[0]
