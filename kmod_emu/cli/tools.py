"""Commands on the kept machine that are no module tools: boot, cat, ls."""

from __future__ import annotations

import sys

import click

from kmod_emu.cli.base import BASE, LOADER
from kmod_emu.cli.command import complete_path, reports_errors
from kmod_emu.cli.devices import DEVICES, MODPROBE
from kmod_emu.cli.limits import LIMITS
from kmod_emu.cli.main import SANITIZE, UID, USAGE_ERROR
from kmod_emu.errors import KernelError, Killed
from kmod_emu.text import escape


@click.command()
@click.option("--release", help="The kernel release, as in `uname -r`, or a series such as 6.1.")
@click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where its modules are, with modules.dep: for modprobe, and for modules that ask for others.",
)
@DEVICES
@MODPROBE
@SANITIZE
@BASE
@LOADER
@LIMITS
@click.pass_obj
@reports_errors
def boot(
    state: str | None, release: str | None, modules: str | None, sanitize: str, base: str, loader: str
) -> None:
    """Start a fresh machine and keep it for the other commands."""
    from kmod_emu.cli import machine

    try:
        kernel = machine.boot(state, release, modules, sanitize, base, loader)
    except LookupError as error:
        click.echo(f"kmod-emu: {error.args[0]}", err=True)
        sys.exit(USAGE_ERROR)
    click.echo(f"Linux version {kernel.profile.release} {kernel.profile.version}")


@click.command()
@click.argument("paths", nargs=-1, required=True, shell_complete=complete_path)
@click.option("--uid", type=UID, default=0, help="Who reads.")
@click.pass_obj
@reports_errors
def cat(state: str | None, paths: tuple[str, ...], uid: int) -> None:
    """Print files of the kept machine, such as /proc/modules."""
    from kmod_emu.cli.machine import machine

    failed = False
    with machine(state, change=False) as kernel:
        for path in paths:
            try:
                click.echo(_printable(kernel.cat(path, uid=uid)), nl=False)
            except KernelError as error:
                if isinstance(error, Killed):
                    raise
                failed = True
                click.echo(f"cat: {path}: {error.strerror}", err=True)
    sys.exit(int(failed))


@click.command()
@click.argument("seconds", type=click.FloatRange(min=0, max=1e9))
@click.pass_obj
@reports_errors
def sleep(state: str | None, seconds: float) -> None:
    """Let time pass on the kept machine: its threads and timers go on. Nobody waits for it."""
    from kmod_emu.cli.machine import machine

    with machine(state, change=True) as kernel:
        kernel.advance(seconds)


def _printable(contents: bytes) -> bytes | str:
    """A file's contents, where a person reads them without what would command the terminal."""
    if not sys.stdout.isatty():
        return contents
    return "\n".join(escape(line) for line in contents.split(b"\n"))
