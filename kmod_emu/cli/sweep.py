"""kmod-emu sweep: all modules of a directory, each on a fresh machine."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.base import BASE, boot_base, find_kernel, skipped_initcalls
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.limits import LIMITS, given_limits
from kmod_emu.cli.main import INTERRUPTED, USAGE_ERROR
from kmod_emu.kmod.errors import ToolError
from kmod_emu.sweep.compare import read_recording
from kmod_emu.sweep.measures import Comparison
from kmod_emu.sweep.one import STUB, Setup
from kmod_emu.sweep.rows import RowFile
from kmod_emu.sweep.summary import status, summary
from kmod_emu.sweep.tree import choose, read_tree
from kmod_emu.sweep.workers import sweep as run_all
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from kmod_emu.sweep.tree import Target

    _Write = Callable[[dict[str, Any]], None]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--modules",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="The module directory, with modules.dep.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="How many processes work. [default: one for each processor]",
)
@click.option("--json", "out", metavar="FILE", help="Write one object a line; - is standard output.")
@click.option(
    "--compare",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="What a real kernel answered; print what differs.",
)
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with a table.")
@click.option("--dask", metavar="ADDRESS", help="Spread the work over a Dask cluster.")
@click.option("--release", help="The kernel release. [default: the one the modules were built for]")
@BASE
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Processor time that a call may take; twice that for a module with all it needs.",
)
@LIMITS
@reports_errors
def sweep(
    names: tuple[str, ...],
    modules: str,
    jobs: int | None,
    out: str | None,
    compare: str | None,
    html: str | None,
    dask: str | None,
    release: str | None,
    base: str,
    time_limit: float,
) -> None:
    """Load all modules of DIR, or the named ones, each with what it needs on a fresh machine.

    An object has what `run --json` prints, and outcome, reason, deps, link_s, total_s and more. A sweep
    that was interrupted goes on where it was: what is in FILE is not done again.

    With --dask, the cluster's workers see the same files under the same names; --jobs is not used.

    Exit status: 0 all loaded, 1 some refused, 2 wrong usage, 3 some crashed or never returned, 4 some need
    a missing kernel function, 130 interrupted. With --compare, 1 means that something differs.
    """
    if base != STUB and release is not None:
        raise ToolError("kmod-emu: --release is for the stub kernel", USAGE_ERROR)
    base = base if base == STUB else os.path.abspath(find_kernel(base)[0])
    recording = read_recording(compare) if compare else None
    targets = choose(read_tree(modules), names)
    evidence = targets[0].file if targets else ""
    setup = Setup(release, evidence, time_limit, base, given_limits(), skipped_initcalls())
    rows: dict[str, dict[str, Any]] = {}
    with _output(out) as (write, kept):
        _check(setup, kept.values(), out)
        todo = [target for target in targets if target.path not in kept]
        rows = {target.path: kept[target.path] for target in targets if target.path in kept}
        there, began = len(rows), time.monotonic()
        found = (
            _on_cluster(setup, todo, modules, dask) if dask else run_all(setup, todo, jobs or _processors())
        )
        _follow(found, len(todo), write, rows)
        seconds = time.monotonic() - began
    done, left = len(rows) - there, len(targets) - len(rows)
    comparison = Comparison(rows.values(), recording) if recording is not None else None
    results = [*summary(rows.values()), *(comparison.lines() if comparison else ())]
    lines = [f"{done} modules in {seconds:.1f} s, {done / max(seconds, 0.001):.1f} a second"]
    lines += [f"{there} were done before"] if there else []
    lines += [f"interrupted: {left} are left"] if left else []
    for line in (*lines, *results):
        click.echo(tame(line), err=out == "-")
    if html is not None:
        title = f"Sweep of {modules} on {base}"
        _write_page(html, title, rows.values(), results, comparison.verdicts if comparison else {})
    differences = len(comparison.differences) if comparison else None
    sys.exit(INTERRUPTED if left else status(rows.values(), differences))


def _processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_cluster(
    setup: Setup, targets: list[Target], modules: str, address: str
) -> Generator[dict[str, Any], None, None]:
    from kmod_emu.cluster import NoCluster
    from kmod_emu.sweep.cluster import sweep_on_cluster

    try:
        yield from sweep_on_cluster(setup, targets, os.path.abspath(modules), address)
    except NoCluster as error:
        raise ToolError(f"kmod-emu: {error}", USAGE_ERROR) from None


def _write_page(
    path: str, title: str, rows: Iterable[dict[str, Any]], lines: list[str], verdicts: dict[str, str]
) -> None:
    from kmod_emu import atomic
    from kmod_emu.sweep.page import page

    atomic.write(path, page(title, rows, lines, verdicts).encode())


@contextmanager
def _output(out: str | None) -> Iterator[tuple[_Write, dict[str, dict[str, Any]]]]:
    """Where rows go, and those that are there already."""
    if out is None:
        yield lambda row: None, {}
    elif out == "-":
        yield lambda row: click.echo(json.dumps(row)), {}
    else:
        with RowFile(out) as file:
            yield file.add, file.kept


def _check(setup: Setup, kept: Iterable[dict[str, Any]], out: str | None) -> None:
    """That the kernel is known, and is the one of the rows that are there."""
    try:
        kernel = boot_base(setup.base) if setup.base != STUB else setup.boot()
        release = kernel.profile.release
    except LookupError as error:
        raise ToolError(f"kmod-emu: {error.args[0]}", USAGE_ERROR) from None
    others = {row["release"] for row in kept if row.get("release") not in (None, release)}
    others |= {kernel for row in kept if (kernel := row.get("kernel", STUB)) != setup.base}
    if others:
        raise ToolError(f"kmod-emu: {out} holds a sweep of {', '.join(sorted(others))}", USAGE_ERROR)


def _follow(
    found: Generator[dict[str, Any], None, None], count: int, write: _Write, rows: dict[str, dict[str, Any]]
) -> None:
    """Take rows as they come, until Ctrl-C."""
    done, began = 0, time.monotonic()

    def rate(_: object) -> str:
        return f"{done / max(time.monotonic() - began, 0.001):.1f}/s"

    bar = None
    if sys.stderr.isatty() and count:
        bar = click.progressbar(length=count, file=sys.stderr, show_pos=True, item_show_func=rate)
    try:
        with closing(found), bar or nullcontext():
            for row in found:
                write(row)
                row.pop("steps")
                rows[row["path"]] = row
                done += 1
                if bar is not None:
                    bar.update(1, row)
    except KeyboardInterrupt:
        pass
