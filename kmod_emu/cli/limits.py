"""The option --limits of commands that run modules: whoever makes their machine reads what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from kmod_emu.cli.kept import given, keep
from kmod_emu.kernel.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

F = TypeVar("F", bound="Callable[..., Any]")


def _parse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            keep(ctx, param, Limits.parse(value))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None


LIMITS = click.option(
    "--limits",
    metavar="NAME=VALUE,...",
    expose_value=False,
    callback=_parse,
    help=f"What the module may use: {', '.join(Limits._fields)}. See docs/security.md.",
)


def time_limit(seconds: float) -> Callable[[F], F]:
    """The option --time-limit with a default; `limit_time` does what it says."""
    return click.option(
        "--time-limit",
        type=click.FloatRange(min=0, min_open=True),
        default=seconds,
        show_default=True,
        metavar="SECONDS",
        help="End code that never returns.",
    )


def given_limits() -> Limits | None:
    """What the command that runs was told, None for nothing."""
    limits: Limits | None = given("limits")
    return limits


def obey_limits(kernel: KernelCore) -> None:
    """What the command was told, on a machine that was made without."""
    if (limits := given_limits()) is not None:
        kernel.usage.limits = limits


def limit_time(kernel: KernelCore, seconds: float) -> None:
    """The option --time-limit, unless --limits says something of time."""
    limits = given_limits()
    if limits is None or limits.time == Limits().time:
        kernel.cpu.watchdog.limit = seconds
