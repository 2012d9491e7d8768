"""What a machine is furnished with before a module comes: the options --device and --modprobe."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import complete_device
from kmod_emu.cli.kept import given, keep
from kmod_emu.cli.main import USAGE_ERROR
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import tame

if TYPE_CHECKING:
    from kmod_emu.api import Kernel


DEVICES = click.option(
    "--device",
    metavar="NAME|FILE.py:CLASS[,KEY=VALUE]...",
    multiple=True,
    expose_value=False,
    callback=keep,
    shell_complete=complete_device,
    help="Plug in a device that Python plays: one of `kmod-emu devices --models`, or your class.",
)
MODPROBE = click.option(
    "--modprobe",
    metavar="NAME",
    multiple=True,
    expose_value=False,
    callback=keep,
    help="Load a module first, with all that it needs, from --modules or this computer's /lib/modules.",
)


def furnish(kernel: Kernel, *, kept: bool = False) -> None:
    """Plug in and load what the command that runs was told.

    Args:
        kernel: The machine.
        kept: It will be saved: nobody's own class can be part of it.

    Raises:
        ToolError: There is no such device or module, or no place for it.
    """
    for text in given("device") or ():
        from kmod_emu.drivers import catalog, models

        try:
            spec = catalog.parse(text)
            if kept and not models.kind_of(spec.model):
                raise ValueError(
                    f"a kept machine can have {', '.join(models.SHIPPED)}, and no class of a file"
                )
            spec.plug(kernel)
        except ValueError as error:
            raise ToolError(f"kmod-emu: --device {text}: {tame(str(error))}", USAGE_ERROR) from None
    for name in given("modprobe") or ():
        from kmod_emu.kmod import modprobe
        from kmod_emu.kmod.console import Console

        console = Console("modprobe", lambda change: nullcontext(kernel), Path())
        if modprobe.main(console, [name]):
            raise ToolError(f"kmod-emu: --modprobe {name}: it is not loaded", USAGE_ERROR)
