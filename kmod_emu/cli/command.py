"""Commands that leave their words to the tool: it parses them as the real one does; errors and statuses."""

from __future__ import annotations

import sys
from functools import partial, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.errors import InternalError, Killed
from kmod_emu.kmod.console import Console, Done
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """A tool's error goes to standard error and ends with the tool's status; so does a crash in the guest."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except ToolError as error:
            if str(error):
                click.echo(str(error), err=True)
            for reason in error.reasons:
                from kmod_emu.text import tame

                click.echo(f"kmod-emu: {tame(reason)}", err=True)
            sys.exit(error.status)
        except Killed as death:
            from kmod_emu.text import escape

            if not isinstance(death, InternalError):
                click.echo("Killed" if death.signal == 9 else "Segmentation fault", err=True)
            click.echo(f"kmod-emu: {escape(death.explanation.encode('utf-8', 'surrogateescape'))}", err=True)
            sys.exit(death.exit_status)

    return wrapped


class ToolCommand(click.Command):
    """A tool: a module in `package` with COMMAND and `main(console, args)`, which gives the status."""

    package = "kmod_emu.kmod"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep every word, `--` and `-h` included."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Run the tool."""
        sys.exit(run(str(self.name), ctx.args, ctx.obj, self.package))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Options by their names; modules, samples or files for the rest."""
        from kmod_emu.cli import completion

        return completion.of_tool(ctx, f"{self.package}.{self.name}", incomplete)


class ClassicCommand(ToolCommand):
    """A tool of Linux 2.4's time."""

    package = "kmod_emu.classic"


def complete_sample(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Samples, else files."""
    from kmod_emu.cli import completion

    return completion.sample(incomplete)


def complete_device(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Devices that are shipped, and what may be said of them."""
    from kmod_emu.cli import completion

    return completion.device(incomplete)


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files of the kept machine."""
    from kmod_emu.cli import completion

    return completion.machine_path(ctx, incomplete)


@reports_errors
def run(tool: str, args: list[str], state: str | None, package: str) -> int:
    """Run a tool on the kept machine; its exit status."""
    from kmod_emu.cli.machine import machine, state_path

    module: Any = import_module(f"{package}.{tool}")
    try:
        return int(module.main(Console(tool, partial(machine, state), state_path(state)), args))
    except Done:
        return 0
