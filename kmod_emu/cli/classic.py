"""Commands of the 2.4 personality that are no module tools: boot."""

from __future__ import annotations

import click

from kmod_emu.cli.command import reports_errors


@click.command()
@click.option(
    "--versions", is_flag=True, help="Symbols carry versions, as printk_R1b7d4074 (CONFIG_MODVERSIONS)."
)
@click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Its /lib/modules/2.4.32, with modules.dep. [default: the samples that come along]",
)
@click.pass_obj
@reports_errors
def boot(state: str | None, versions: bool, modules: str | None) -> None:
    """Start a fresh machine of the 2.4 personality and keep it for the other commands."""
    from kmod_emu.classic.kernel import ClassicKernel
    from kmod_emu.cli.machine import keep

    kernel = keep(state, ClassicKernel(versions=versions, modules=modules))
    click.echo(kernel.profile.banner)
