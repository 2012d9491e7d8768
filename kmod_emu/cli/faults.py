"""kmod-emu faults: what a module's init does when a call fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.limits import limit_time, time_limit
from kmod_emu.kmod.files import module_name
from kmod_emu.observe.steps import show

if TYPE_CHECKING:
    from kmod_emu.sanitize.faults import Case


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@boots_machine
@time_limit(5.0)
@reports_errors
def faults(
    module: str,
    params: tuple[str, ...],
    as_json: bool,
    setup: Setup,
    time_limit: float,
) -> None:
    """Run MODULE's init once for each call in it that may fail, with that call failing.

    Allocations, registrations and copies fail, each with its usual error; where init succeeds all the same,
    exit runs too. Exit status: 0 nothing was found, 1 something was, 2 wrong usage.
    """
    from kmod_emu.sanitize.faults import explore

    kernel, path, _ = setup.boot(module)
    limit_time(kernel, time_limit)
    try:
        image = Path(path).read_bytes()
    except OSError as error:
        click.echo(f"kmod-emu: {show(path)}: {error.strerror}", err=True)
        sys.exit(2)
    cases: list[Case] = []
    with ends_at_once():
        for case in explore(kernel, image, module_name(path), " ".join(params)):
            cases.append(case)
            if not as_json:
                _tell(case)
    if as_json:
        import json

        click.echo(
            json.dumps({"module": module_name(path), "runs": [case._asdict() for case in cases]}, indent=2)
        )
    else:
        bad = sum(bool(case.reports) for case in cases if case.nth)
        click.echo(f"{len(cases) - 1} calls were made to fail; {bad} of them led to a finding")
    sys.exit(int(any(case.reports for case in cases)))


def _tell(case: Case) -> None:
    """A line for the run, and what was found."""
    if case.nth:
        head = f"#{case.nth} {case.call}() at {show(case.place)} returns {case.returned}"
    else:
        head = "nothing fails"
    click.echo(f"{head}: {show(case.outcome)}")
    for report in case.reports:
        click.echo(f"    {report['kind']}: {show(report['text'])}")
