"""The option --device of commands that run modules: `fresh_machine` and `exec` plug in what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kmod_emu.cli.main import USAGE_ERROR
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import tame

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


def _keep(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.meta[__name__] = value


DEVICES = click.option(
    "--device",
    metavar="NAME|FILE.py:CLASS[,KEY=VALUE]...",
    multiple=True,
    expose_value=False,
    callback=_keep,
    help="Plug in a device that Python plays: e1000, lm75, or a class of yours. See docs/devices.md.",
)


def plug_devices(kernel: KernelCore) -> None:
    """Plug in what the command that runs was told.

    Raises:
        ToolError: There is no such device, or no place for it.
    """
    ctx = click.get_current_context(silent=True)
    for text in ctx.meta.get(__name__, ()) if ctx else ():
        from kmod_emu.drivers import catalog

        try:
            catalog.parse(text).plug(kernel)
        except ValueError as error:
            raise ToolError(f"kmod-emu: --device {text}: {tame(str(error))}", USAGE_ERROR) from None
