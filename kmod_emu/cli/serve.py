"""kmod-emu serve: the report of a run, live."""

from __future__ import annotations

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import fresh_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.main import UID


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
              help="Where to listen; 0: any free one.")  # fmt: skip
@click.option("--share", is_flag=True, help="Let others look too, at an address with a secret.")
@click.option("--for", "seconds", type=click.FloatRange(min=0, max=1e9), default=0.0, metavar="SECONDS",
              help="Let virtual time pass before rmmod, for threads and timers.")  # fmt: skip
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@click.option("--release", help="The kernel release to boot. [default: the one the module was built for]")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True,
              metavar="SECONDS", help="End code that never returns.")  # fmt: skip
@reports_errors
def serve(
    module: str,
    params: tuple[str, ...],
    port: int,
    share: bool,
    seconds: float,
    uid: int,
    release: str | None,
    time_limit: float,
) -> None:
    """Load MODULE on a fresh machine, remove it, and show the report on a page that can go through the steps.

    Open the address that is printed. At each step the page shows the registers, the modules, and memory as
    it was then: click on any address. With --share there are two addresses: yours moves the step, the
    other is for a class, which follows. Ctrl-C ends it.
    """
    from kmod_emu.observe.live.app import Site
    from kmod_emu.observe.live.moments import Moments
    from kmod_emu.observe.live.server import listen
    from kmod_emu.observe.live.server import serve as answer
    from kmod_emu.observe.report.model import collect

    listener, host = listen(port, shared=share)
    kernel, path, _ = fresh_machine(module, release)
    kernel.cpu.watchdog.limit = time_limit
    moments = Moments(kernel)
    with ends_at_once():
        model = collect(kernel, path, " ".join(params), uid, seconds)
    moments.finish()
    site = Site(model, moments, shared=share)
    if site.viewer is None:
        click.echo(f"http://{host}{site.presenter}    {len(moments)} steps; Ctrl-C ends")
    else:
        click.echo(f"for you:       http://{host}{site.presenter}    moves the step; Ctrl-C ends")
        click.echo(f"for the class: http://{host}{site.viewer}    follows")
    answer(site.app, listener)
