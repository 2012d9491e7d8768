"""kmod-emu grade: marks for many submissions."""

from __future__ import annotations

import os
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmod_emu import atomic
from kmod_emu.cli.base import boot_base
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.main import INTERRUPTED
from kmod_emu.labs import outputs
from kmod_emu.labs.grade import ClusterError, Results, file_name, in_processes, jobs_of, on_cluster
from kmod_emu.labs.lab import LabError, read_lab

if TYPE_CHECKING:
    from collections.abc import Generator

    from kmod_emu.labs.lab import Lab

_UNUSABLE = 2  # exit status
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("lab_file", metavar="LAB.toml", type=_FILE)
@click.argument(
    "folder", metavar="SUBMISSIONS", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N",
              help="How many are judged at a time. [default: one for each processor]")  # fmt: skip
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Where each result is kept. [default: SUBMISSIONS/.kmod-emu-grade]")  # fmt: skip
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML.")
@click.option("--ktap", type=_FILE, metavar="FILE", help="Write KTAP.")
@click.option("--gradescope", type=click.Path(path_type=Path), metavar="FILE",
              help="Write Gradescope's results.json; of several, a directory.")  # fmt: skip
@click.option("--csv", "csv_", type=_FILE, metavar="FILE", help="Write a table for spreadsheets.")
@click.option("--dask", metavar="ADDRESS", help="Spread the work over a Dask cluster.")
@reports_errors
def grade(
    lab_file: Path,
    folder: Path,
    jobs: int | None,
    results: Path | None,
    junit: Path | None,
    ktap: Path | None,
    gradescope: Path | None,
    csv_: Path | None,
    dask: str | None,
) -> None:
    """Judge each submission in a directory by the tests of LAB.toml.

    A submission is a directory, a .c or .ko file or an archive. Each is built and tested in a process of its
    own with limits. What was judged before is not judged again unless it or the lab has changed.

    Exit status: 0 all have full marks, 1 some have not, 2 wrong usage or no cluster, 130 interrupted.
    """
    lab = read_lab(lab_file)
    for place in (junit, ktap, gradescope, csv_):
        if place is not None and not place.parent.is_dir():
            raise LabError(f"{place}: there is no directory {place.parent}")
    todo = jobs_of(lab, folder)
    if not todo:
        raise LabError(f"{folder}: there is nothing in it")
    _check(lab, any(not job["name"].endswith(".ko") for job in todo))
    kept = Results(results or folder / ".kmod-emu-grade")
    found = {job["name"]: row for job in todo if (row := kept.find(job)) is not None}
    rest = [job for job in todo if job["name"] not in found]
    if found:
        click.echo(f"{len(found)} were judged before", err=True)
    missing = _follow(_judged(rest, jobs, dask), len(todo), kept, found)
    rows = [found[job["name"]] for job in todo if job["name"] in found]
    for line in outputs.table(rows) if rows else ():
        click.echo(line)
    for path, text in ((junit, outputs.junit), (ktap, outputs.ktap), (csv_, outputs.as_csv)):
        if path is not None:
            atomic.write(path, text(rows))
    if gradescope is not None:
        _gradescope(gradescope, rows)
    if len(rows) < len(todo):
        click.echo(f"{missing or 'interrupted'}: {len(todo) - len(rows)} are left", err=True)
        sys.exit(_UNUSABLE if missing else INTERRUPTED)
    sys.exit(any(row["points"] < row["of"] for row in rows))


def _check(lab: Lab, builds: bool) -> None:
    """That this computer can judge: what it lacks is nobody's fault who handed something in.

    Raises:
        LabError: It cannot.
    """
    from kmod_emu.labs.check import BUSYBOX
    from kmod_emu.labs.compile import NoHeaders, headers_for
    from kmod_emu.labs.machine import release_of

    try:
        release = release_of(lab.release, lab.kernel)
        if builds:
            headers_for(release)
    except LookupError as error:
        raise LabError(f"{lab.path}: {error.args[0]}") from None
    except NoHeaders as error:
        raise LabError(str(error)) from None
    if lab.kernel:
        boot_base(lab.kernel)  # which keeps it for those who judge
    if any(check.shell for check in lab.checks) and not os.path.isfile(BUSYBOX):
        raise LabError(f"tests with a shell need {BUSYBOX} (Debian's package busybox-static)")
    for check in lab.checks:
        if check.pytest and not (lab.path.parent / check.pytest.partition("::")[0]).is_file():
            raise LabError(f"{lab.path}: there is no {check.pytest}")
    if any(check.pytest for check in lab.checks):
        from importlib.util import find_spec

        if find_spec("pytest") is None:
            raise LabError("this lab's tests need pytest: pip install pytest")


def _judged(
    jobs: list[dict[str, str]], count: int | None, dask: str | None
) -> Generator[tuple[dict[str, str], dict[str, Any]], None, None]:
    if not jobs:
        return
    if dask is None:
        yield from in_processes(jobs, min(count or os.cpu_count() or 1, len(jobs)))
        return
    yield from on_cluster(jobs, dask)


def _follow(
    judged: Generator[tuple[dict[str, str], dict[str, Any]], None, None],
    count: int,
    kept: Results,
    found: dict[str, dict[str, Any]],
) -> str:
    """Take rows as they come, until Ctrl-C, and say how far it is; why some do not come, but for Ctrl-C."""
    terminal = sys.stderr.isatty()
    bar = click.progressbar(length=count, file=sys.stderr, show_pos=True) if terminal else None
    try:
        with closing(judged), bar or nullcontext():
            if bar is not None:
                bar.update(len(found))
            for job, row in judged:
                found[job["name"]] = kept.keep(job, row)
                if bar is not None:
                    bar.update(1)
                else:
                    marks = f"{row['points']:g}/{row['of']:g}"
                    click.echo(f"[{len(found)}/{count}] {outputs.one_line(job['name'])}: {marks}", err=True)
    except KeyboardInterrupt:
        pass
    except ClusterError as error:
        return outputs.one_line(f"kmod-emu: {error}")
    return ""


def _gradescope(path: Path, rows: list[dict[str, Any]]) -> None:
    if len(rows) == 1:
        atomic.write(path, outputs.gradescope(rows[0]))
        return
    path.mkdir(parents=True, exist_ok=True)
    for row in rows:
        atomic.write(path / file_name(row["name"]), outputs.gradescope(row))
