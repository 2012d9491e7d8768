"""Commands that do many modules in worker processes: their rows in a file, the bar, what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.sweep.rows import RowFile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    Write = Callable[[dict[str, Any]], None]

JOBS = click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How many processes work. [default: one for each processor]",
)
JSON = click.option("--json", "out", metavar="FILE", help="Write one object a line; - is standard output.")
TIME_LIMIT = click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Processor time that a call may take; twice that for a module with all it needs.",
)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def output(out: str | None) -> Iterator[tuple[Write, dict[str, dict[str, Any]]]]:
    """Where rows go, and those that are there already."""
    if out is None:
        yield lambda row: None, {}
    elif out == "-":
        yield lambda row: click.echo(json.dumps(row)), {}
    else:
        with RowFile(out) as file:
            yield file.add, file.kept


def follow(
    found: Generator[dict[str, Any], None, None], count: int, write: Write, rows: dict[str, dict[str, Any]]
) -> list[str]:
    """Take rows as they come, until Ctrl-C; lines about how many there were, and how fast."""
    done, began = 0, time.monotonic()

    def rate(_: object) -> str:
        return f"{done / max(time.monotonic() - began, 0.001):.1f}/s"

    bar, there = None, len(rows)
    if sys.stderr.isatty() and count:
        bar = click.progressbar(length=count, file=sys.stderr, show_pos=True, item_show_func=rate)
    try:
        with closing(found), bar or nullcontext():
            for row in found:
                write(row)
                row.pop("steps", None)
                rows[row["path"]] = row
                done += 1
                if bar is not None:
                    bar.update(1, row)
    except KeyboardInterrupt:
        pass
    seconds = time.monotonic() - began
    lines = [f"{done} modules in {seconds:.1f} s, {done / max(seconds, 0.001):.1f} a second"]
    lines += [f"{there} were done before"] if there else []
    return [*lines, *([f"interrupted: {count - done} are left"] if done < count else [])]
