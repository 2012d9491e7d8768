"""kmod-emu gdbserver: a module's init in gdb."""

from __future__ import annotations

import sys

import click

from kmod_emu import atomic
from kmod_emu.cli.command import complete_sample
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.debug.debugger import Debugger, Reason
from kmod_emu.debug.gdb.server import Server
from kmod_emu.debug.gdb.symbols import kernel_file
from kmod_emu.debug.recording import SUFFIX, Recording
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.insmod import load_file
from kmod_emu.observe.steps import show


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=1234,
    show_default=True,
    help="Where to listen; 0: any free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--once", is_flag=True, help="End when the first gdb has left.")
@click.option(
    "--symbols",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Also write the base kernel's symbols to an ELF file, for front ends that insist on a program.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, writable=True),
    metavar=f"FILE{SUFFIX}",
    help="When the server ends, keep the run in a recording, with what gdb changed in it.",
)
@boots_machine
def gdbserver(
    module: str,
    params: tuple[str, ...],
    port: int,
    host: str,
    once: bool,
    symbols: str | None,
    record: str | None,
    setup: Setup,
) -> None:
    """Load MODULE on a fresh machine and wait for gdb at the first instruction of its init.

    In gdb, `target remote :PORT` is all that is needed: symbols come by themselves. The module is removed
    again when its init has returned, so that its exit can be debugged. Ctrl-C ends the server.
    """
    kernel, path, reason = setup.boot(module)
    if reason:
        click.echo(f"# {show(reason)}")
    debugger = Debugger(kernel)
    try:
        stop = debugger.start(load_file(path).image, " ".join(params))
    except ToolError as error:
        click.echo(str(error), err=True)
        sys.exit(error.status)
    if stop.reason is Reason.ENDED:
        click.echo(kernel.printk.dmesg(), nl=False)
        click.echo(
            f"kmod-emu: nothing to debug: init never ran{f': {stop.detail}' if stop.detail else ''}", err=True
        )
        sys.exit(1)
    if symbols is not None:
        atomic.write(symbols, kernel_file(kernel))
    server = Server(debugger, lambda text: click.echo(f"kmod-emu: {text}"), host, port)
    name, number = server.address
    click.echo(f"kmod-emu: {show(kernel.describe(stop.address))}; in gdb: target remote {name}:{number}")
    try:
        server.serve(once=once)
    finally:
        if record is not None:
            Recording.of(debugger).write(record)
