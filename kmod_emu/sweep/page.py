"""A sweep as one HTML page: the summary, and a table with a row a module, to be sorted and searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.observe.templates import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEAD = ("module", "outcome", "returns", "rmmod", "recording", "adds", "merely answered", "why", "ms")
_CLASSES = {"agrees": "good", "differs": "bad", "by accident": "maybe"}


def page(title: str, rows: Iterable[dict[str, Any]], summary: Sequence[str], verdicts: dict[str, str]) -> str:
    """The page; whatever text a module brings along stays text.

    Args:
        title: What was swept.
        rows: Of the sweep, in the order to be shown.
        summary: Its lines.
        verdicts: By module, how it agrees with a recording.
    """
    shown = []
    for row in rows:
        verdict = verdicts.get(row["module"], "")
        shown.append((_cells(row, verdict), _CLASSES.get(verdict, "")))
    return (
        environment("sweep")
        .get_template("page.html.j2")
        .render(
            title=title,
            summary="\n".join(summary),
            head=_HEAD,
            rows=shown,
            verdict_at=_HEAD.index("recording"),
        )
    )


def _cells(row: dict[str, Any], verdict: str) -> list[object]:
    added = [thing for things in (row.get("added") or {}).values() for thing in things]
    missing = ", ".join(row["unimplemented"])
    return [
        row["module"],
        row["outcome"],
        row["errno"] or ("" if row["rc"] is None else row["rc"]),
        "" if row["rmmod_rc"] is None else row["rmmod_rc"],
        verdict,
        ", ".join(added),
        ", ".join(row.get("stand_ins") or ()),
        f"needs {missing}" if missing else row["reason"] or "",
        "" if row["total_s"] is None else round(1000 * row["total_s"]),
    ]
