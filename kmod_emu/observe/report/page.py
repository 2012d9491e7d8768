"""The page: what is drawn where, and the template filled in. Text is escaped by Jinja, whatever it says."""

from __future__ import annotations

from typing import Any

from kmod_emu.observe.templates import environment

_PARTS = ("steps", "map", "symbols", "relocations", "list", "calls", "log", "devices", "memory")
_MIB = 1 << 20
_HEIGHT, _LABEL = 480, 15  # pixels of the module's map, and of a line of text in it
_CLASSES = {"r-x": "rx", "rw-": "rw", "r--": "ro"}


def page(model: dict[str, Any], live: dict[str, Any] | None = None) -> str:
    """One self-contained HTML file.

    Args:
        model: What `collect` made.
        live: `role` and number of `steps`, for the page that is served: it has a panel for each step.
    """
    templates = environment("observe/report")
    templates.globals["ending"] = _ending
    return templates.get_template("page.html.j2").render(
        m=model, parts=_PARTS, bars=_bars(model), pages=_pages(model["regions"]), live=live
    )


def _ending(node: dict[str, Any]) -> str:
    """What stands behind a call."""
    result = node["result"]
    text = " = ? (never returned)" if result is None else f" = {result}" if result else ""
    if node["calls"] and node["instructions"]:
        text += f"  · {node['instructions']} instructions"
    return f"{text}  {node['source']}" if node["source"] else text


def _bars(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The kernel's parts, a unit a megabyte, with the module's memory marked."""
    bars = []
    for part in model["space"][1:]:
        used = [
            {
                "x": (run["start"] - part["start"]) / _MIB,
                "width": max((run["end"] - run["start"]) / _MIB, 3),
                "title": f"{run['region']} of {run['module']}, {run['end'] - run['start']} bytes",
            }
            for run in model["regions"]
            if part["start"] <= run["start"] < part["start"] + part["size"]
        ]
        bars.append({**part, "width": part["size"] / _MIB, "used": used})
    return bars


def _pages(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The module's memory, lowest address at the bottom, gaps between regions left out."""
    total = sum(run["end"] - run["start"] for run in runs) or 1
    y, label, drawn = 0.0, 0.0, []
    for run in sorted(runs, key=lambda run: -int(run["start"])):
        size = run["end"] - run["start"]
        height = size / total * _HEIGHT
        wanted = y + min(height / 2, _LABEL) + 4
        shown = max(wanted, label + _LABEL)
        label = shown if shown < y + height + _LABEL else label
        sections = ", ".join(section["name"] for section in run["sections"])
        drawn.append(
            {
                **run,
                "y": y,
                "height": height,
                "class": _CLASSES.get(run["perms"], "ro"),
                "label_y": shown if label == shown else None,
                "title": f"{run['perms']} {run['region']}, {size} bytes: {sections}",
            }
        )
        y += height
    return {"height": max(y, label) + 4, "runs": drawn}
