"""Timing two sides of a comparison fairly, and the table that says what came out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Effort(NamedTuple):
    """How hard to measure.

    Attributes:
        rounds: How often each side is measured; the best round counts.
        scale: Factor on the work of one round; 1 is the usual.
    """

    rounds: int
    scale: float


FULL, QUICK = Effort(5, 1.0), Effort(1, 0.01)


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: What was measured.
        unit: Of `ours` and `reference`.
        ours: The best of all rounds.
        reference: The other side, measured in the same run; None where the aim is for `ours` itself.
        aim: For the ratio ours / reference, or for `ours`.
        at_most: Whether less is better.
        failure: Why it could not be measured; `ours` is nothing then.
    """

    name: str
    unit: str
    ours: float
    reference: float | None
    aim: float
    at_most: bool = False
    failure: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours as a multiple of the reference."""
        return None if self.reference is None else self.ours / self.reference

    @property
    def reached(self) -> bool:
        """Whether the aim is met."""
        if self.failure:
            return False
        value = self.ours if self.ratio is None else self.ratio
        return value <= self.aim if self.at_most else value >= self.aim


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best(effort: Effort, *sides: Callable[[], float]) -> list[float]:
    """The smallest result of each side, taking turns so that a busy moment hits all of them."""
    results = [[side() for side in sides] for _ in range(effort.rounds)]
    return [min(column) for column in zip(*results, strict=True)]


def table(rows: Iterable[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':34}{'ours':>12}{'reference':>12}{'ratio':>8}{'aim':>10}"]
    for row in rows:
        reference = "" if row.reference is None else _figure(row.reference)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        aim = f"{'<=' if row.at_most else '>='} {row.aim:g}"
        mark = "" if row.reached else "  missed"
        name = f"{row.name}, {row.unit}"
        if row.failure:
            lines.append(f"{name:34}  not measured: {row.failure}")
            continue
        lines.append(f"{name:34}{_figure(row.ours):>12}{reference:>12}{ratio:>8}{aim:>10}{mark}")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
