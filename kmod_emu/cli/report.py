"""kmod-emu report: one run of a module as a page to show."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import fresh_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.main import UID


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="report.html", show_default=True,
              metavar="FILE", help="Where the page goes.")  # fmt: skip
@click.option("--for", "seconds", type=click.FloatRange(min=0, max=1e9), default=0.0, metavar="SECONDS",
              help="Let virtual time pass before rmmod, for threads and timers.")  # fmt: skip
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@click.option("--release", help="The kernel release to boot. [default: the one the module was built for]")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True,
              metavar="SECONDS", help="End code that never returns.")  # fmt: skip
@reports_errors
def report(
    module: str,
    params: tuple[str, ...],
    output: str,
    seconds: float,
    uid: int,
    release: str | None,
    time_limit: float,
) -> None:
    """Load MODULE on a fresh machine, remove it, and write a page that shows what happened.

    The page is one file that needs no network: the steps, the map of memory, symbols, relocations, the list
    of modules, calls, the log beside its source, devices and allocations. Exit status as `run`.
    """
    from kmod_emu.observe.report.model import collect
    from kmod_emu.observe.report.page import page

    kernel, path, _ = fresh_machine(module, release)
    kernel.cpu.watchdog.limit = time_limit
    with ends_at_once():
        model = collect(kernel, path, " ".join(params), uid, seconds)
    Path(output).write_text(page(model), encoding="utf-8")
    click.echo(f"{output}: {model['module']} on {kernel.profile.release}")
    sys.exit(model["status"])
