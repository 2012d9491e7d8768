"""What came of a sweep, in a few lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kmod_emu.sweep.one import LOADED, REFUSED, UNIMPLEMENTED, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST = 10


def summary(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Lines: how many modules came to which end, and the reasons that are most frequent."""
    rows = list(rows)
    outcomes = Counter(row["outcome"] for row in rows)
    for outcome, count in outcomes.most_common():
        found = [row for row in rows if row["outcome"] == outcome]
        yield f"{count:6} {outcome}{_detail(outcome, found)}"


def _detail(outcome: str, rows: list[dict[str, Any]]) -> str:
    if outcome == LOADED:
        failed = sum(row["rmmod_rc"] != 0 for row in rows)
        return f", {failed} of them stay: rmmod fails" if failed else ""
    if outcome == REFUSED:
        return _most(Counter(row["errno"] for row in rows))
    if outcome == UNIMPLEMENTED:
        return _most(Counter(row["unimplemented"][0] for row in rows))
    if outcome == UNREADABLE:
        return ""
    return _most(Counter(row["module"] for row in rows), counted=False)


def _most(counts: Counter[str], *, counted: bool = True) -> str:
    shown = [f"{name} {count}" if counted else name for name, count in counts.most_common(_MOST)]
    rest = len(counts) - len(shown)
    return ": " + ", ".join(shown) + (f", and {rest} more" if rest > 0 else "")


def status(rows: Iterable[dict[str, Any]], differences: int | None) -> int:
    """The exit status: the worst of what `run` gives for each; refusals that a recording has too are none."""
    outcomes = {row["outcome"] for row in rows}
    if UNIMPLEMENTED in outcomes:
        return 4
    if outcomes - {LOADED, REFUSED, UNREADABLE}:
        return 3
    if UNREADABLE in outcomes or differences:
        return 1
    return int(differences is None and REFUSED in outcomes)
