"""kmod-emu run: one module on a fresh machine, from insmod to rmmod."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.command import complete_sample
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.limits import limit_time
from kmod_emu.cli.main import UID, colour
from kmod_emu.errors import Killed, SleepsForever, Unimplemented
from kmod_emu.kmod import insmod as tool
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.explain import loading
from kmod_emu.observe.narrator import Narrator
from kmod_emu.observe.record import Recorder
from kmod_emu.observe.run import Run, unread
from kmod_emu.observe.steps import show

if TYPE_CHECKING:
    from kmod_emu.api import Kernel


def _positive(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not value > 0:  # nan is not
        raise click.BadParameter(f"{value:g} is no time to wait.")
    return value


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the story.")
@click.option("-q", "--quiet", is_flag=True, help="Print the kernel log only.")
@click.option(
    "--uid", type=UID, default=0, show_default=True, help="Who calls insmod; only root, 0, may load modules."
)
@click.option("--explain", is_flag=True, help="After an error, also name modules that would help.")
@click.option("--fail-nth", type=click.IntRange(min=1), metavar="ALLOC",
              help="Let this one of init's allocations, registrations and copies fail.")  # fmt: skip
@boots_machine
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(min=0, max=1e9),
    default=0.0,
    metavar="SECONDS",
    help="Let virtual time pass before rmmod, for threads and timers. [default: none]",
)
@click.option(
    "--time-limit",
    type=float,
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    callback=_positive,
    help="End code that never returns.",
)
def run(
    module: str,
    params: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    uid: int,
    explain: bool,
    fail_nth: int | None,
    setup: Setup,
    seconds: float,
    time_limit: float,
) -> None:
    """Load MODULE on a fresh machine, show every step, and remove it again.

    MODULE is a .ko file or the name of a sample, such as `hello`; with --kernel also of one of that kernel's
    modules, which is loaded with what it needs. Exit status: 0 loaded, 1 refused or failed, 2 wrong usage,
    3 the module crashed or never returned, 4 it needs a kernel function that is missing.
    """
    kernel, path, reason = setup.boot(module)
    limit_time(kernel, time_limit)
    if fail_nth:
        kernel.sanitizer.inject(fail_nth)
    recorder = Recorder()
    kernel.events.listen(recorder)
    if not as_json and not quiet:
        kernel.events.listen(Narrator(click.echo, colour))
        click.echo(f"$ insmod {' '.join([module, *params])}    # on a fresh {kernel.profile.release}")
        if reason:
            click.echo(f"# {show(reason)}")
    options = {"as_json": as_json, "quiet": quiet, "explain": explain}
    _follow(kernel, path, " ".join(params), uid, seconds, recorder, **options)


def _follow(
    kernel: Kernel,
    path: str,
    params: str,
    uid: int,
    seconds: float,
    recorder: Recorder,
    *,
    as_json: bool,
    quiet: bool,
    explain: bool,
) -> None:
    try:
        with ends_at_once():
            result = Run(kernel, path, params, uid)
    except ToolError as error:
        if as_json:
            _print_json(unread(path))
        click.echo(str(error), err=True)
        sys.exit(error.status)
    with ends_at_once():
        kernel.advance(seconds)
    result.look()
    if not as_json and not quiet:
        _tell_outcome(result)
    with ends_at_once():
        result.remove()
    if as_json:
        _print_json(result.to_json(recorder))
    else:
        if not quiet:
            click.echo("\n$ dmesg")
        click.echo(kernel.printk.dmesg(), nl=False)
        _complain(result, explain=explain)
    sys.exit(result.status)


def _print_json(report: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(report, indent=2))


def _tell_outcome(result: Run) -> None:
    """lsmod, and rmmod where there is something to remove."""
    from kmod_emu.kmod.lsmod import lsmod

    click.echo("\n$ lsmod")
    click.echo(lsmod(result.kernel), nl=False)
    if result.listed is None:
        ran = result.module is not None and result.module.init_rc is not None
        why = "init did run, its lines are in dmesg, but" if ran else "init never ran:"
        click.echo(f"({why} {show(result.name)} is not in the list)")
    elif result.error is None:
        click.echo(f"\n$ rmmod {show(result.name)}")


def _complain(result: Run, *, explain: bool) -> None:
    """What checkers found, the tools' own messages, then the reason in a sentence."""
    for finding in result.kernel.findings.lines:
        click.echo(f"kmod-emu: {show(finding)}", err=True)
    error = result.error
    if error is not None and not isinstance(error, Killed):
        click.echo(str(tool.refused(result.kernel, result.path, error)), err=True)
    elif result.rmmod_error is not None:
        error = result.rmmod_error
        if not isinstance(error, Killed):
            click.echo(
                f"rmmod: ERROR: could not remove module {show(result.name)}: {error.strerror}", err=True
            )
    if error is None or isinstance(error, SleepsForever):
        return
    for reason in loading(result.kernel, result.path, error) if explain else [error.explanation]:
        if reason:
            click.echo(f"kmod-emu: {show(reason)}", err=True)
    if isinstance(error, Unimplemented) and error.recipe:
        click.echo("".join(f"    {line}\n" for line in error.recipe.splitlines()), nl=False, err=True)
