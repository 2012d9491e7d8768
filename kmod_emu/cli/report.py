"""kmod-emu report: one run of a module as a page to show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.limits import limit_time, time_limit
from kmod_emu.cli.main import UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.api import Kernel

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.argument("module", shell_complete=complete_sample),
    click.argument("params", nargs=-1, metavar="[NAME=VALUE]..."),
    click.option("--for", "seconds", type=click.FloatRange(min=0, max=1e9), default=0.0, metavar="SECONDS",
                 help="Let virtual time pass before rmmod, for threads and timers."),
    click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod."),
    boots_machine,
    time_limit(20.0),
)  # fmt: skip


def whole_run(command: F) -> F:
    """Decorator: what commands take that load a module, remove it, and show what happened."""
    command = cast("F", reports_errors(command))
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def collected(
    module: str,
    params: tuple[str, ...],
    prepare: Callable[[Kernel], T],
    *,
    seconds: float,
    uid: int,
    setup: Setup,
    time_limit: float,
) -> tuple[dict[str, Any], T]:
    """The model of a run, and what `prepare` made of the machine before it."""
    from kmod_emu.observe.report.model import collect

    kernel, path, _ = setup.boot(module)
    limit_time(kernel, time_limit)
    prepared = prepare(kernel)
    with ends_at_once():
        return collect(kernel, path, " ".join(params), uid, seconds), prepared


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="report.html", show_default=True,
              metavar="FILE", help="Where the page goes.")  # fmt: skip
@whole_run
def report(module: str, params: tuple[str, ...], output: str, **run: Any) -> None:
    """Load MODULE on a fresh machine, remove it, and write a page that shows what happened.

    The page is one file that needs no network: the steps, the map of memory, symbols, relocations, the list
    of modules, calls, the log beside its source, devices and allocations. Exit status as `run`.
    """
    from kmod_emu.observe.report.page import page

    model, _ = collected(module, params, lambda kernel: None, **run)
    Path(output).write_text(page(model), encoding="utf-8")
    click.echo(f"{output}: {model['module']} on {model['release']}")
    sys.exit(model["status"])
