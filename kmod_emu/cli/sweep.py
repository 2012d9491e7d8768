"""kmod-emu sweep: all modules of a directory, each on a fresh machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.base import BASE, LOADER, boot_base, find_kernel, skipped_initcalls
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.limits import LIMITS, given_limits
from kmod_emu.cli.main import INTERRUPTED, USAGE_ERROR
from kmod_emu.cli.many import JOBS, JSON, TIME_LIMIT, follow, output, processors
from kmod_emu.kmod.errors import ToolError
from kmod_emu.sweep.compare import read_recording
from kmod_emu.sweep.measures import Comparison
from kmod_emu.sweep.one import STUB, Setup
from kmod_emu.sweep.summary import status, summary
from kmod_emu.sweep.tree import choose, read_tree, with_softdeps
from kmod_emu.sweep.workers import sweep as run_all
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable

    from kmod_emu.sweep.tree import Target


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--modules",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="The module directory, with modules.dep.",
)
@JOBS
@JSON
@click.option(
    "--compare",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="What a real kernel answered; print what differs.",
)
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with a table.")
@click.option("--dask", metavar="ADDRESS", help="Spread the work over a Dask cluster.")
@click.option(
    "--autoload",
    is_flag=True,
    help="Load soft dependencies too, and let request_module() find modules in DIR.",
)
@click.option("--release", help="The kernel release. [default: the one the modules were built for]")
@BASE
@LOADER
@TIME_LIMIT
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
    autoload: bool,
    release: str | None,
    base: str,
    loader: str,
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
    if html is not None and not os.path.exists(html):  # before hours of work, not after them
        folder = os.path.dirname(os.path.realpath(html))
        if not os.access(folder, os.W_OK):
            raise ToolError(f"kmod-emu: {html}: {folder} is no directory to write to", USAGE_ERROR)
    base = base if base == STUB else os.path.abspath(find_kernel(base)[0])
    recording = read_recording(compare, autoload=autoload) if compare else None
    targets = choose(read_tree(modules), names)
    if autoload:
        targets = with_softdeps(targets, modules)
    evidence = targets[0].file if targets else ""
    setup = Setup(release, evidence, time_limit, base, given_limits(), skipped_initcalls(), loader)
    setup = setup._replace(modules=os.path.abspath(modules) if autoload else None)
    rows: dict[str, dict[str, Any]] = {}
    with output(out) as (write, kept):
        _check(setup, kept.values(), out)
        todo = [target for target in targets if target.path not in kept]
        rows = {target.path: kept[target.path] for target in targets if target.path in kept}
        found = (
            _on_cluster(setup, todo, modules, dask) if dask else run_all(setup, todo, jobs or processors())
        )
        lines = follow(found, len(todo), write, rows)
    comparison = Comparison(rows.values(), recording) if recording is not None else None
    results = [*summary(rows.values()), *(comparison.lines() if comparison else ())]
    for line in (*lines, *results):
        click.echo(tame(line), err=out == "-")
    if html is not None:
        title = f"Sweep of {modules} on {base}"
        _write_page(html, title, rows.values(), results, comparison.verdicts if comparison else {})
    differences = len(comparison.differences) if comparison else None
    sys.exit(INTERRUPTED if len(rows) < len(targets) else status(rows.values(), differences))


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


def _check(setup: Setup, kept: Collection[dict[str, Any]], out: str | None) -> None:
    """That the kernel is known, and is the one of the rows that are there."""
    try:
        kernel = boot_base(setup.base) if setup.base != STUB else setup.boot()
        release = kernel.profile.release
    except LookupError as error:
        raise ToolError(f"kmod-emu: {error.args[0]}", USAGE_ERROR) from None
    others = {row["release"] for row in kept if row.get("release") not in (None, release)}
    done = [row for row in kept if "kernel" in row]  # what a worker died of has no more than a name
    others |= {row["kernel"] for row in done if row["kernel"] != setup.base}
    if others:
        raise ToolError(f"kmod-emu: {out} holds a sweep of {', '.join(sorted(others))}", USAGE_ERROR)
    if any({key: row[key] for key in ("loader", "autoload") if key in row} != setup.marks() for row in done):
        raise ToolError(f"kmod-emu: {out} holds a sweep with another --loader or --autoload", USAGE_ERROR)
