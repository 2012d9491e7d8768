"""kmod-emu serve: the report of a run, live."""

from __future__ import annotations

from typing import Any

import click

from kmod_emu.cli.report import collected, whole_run


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
              help="Where to listen; 0: any free one.")  # fmt: skip
@click.option("--share", is_flag=True, help="Let others look too, at an address with a secret.")
@whole_run
def serve(module: str, params: tuple[str, ...], port: int, share: bool, **run: Any) -> None:
    """Load MODULE on a fresh machine, remove it, and show the report on a page that can go through the steps.

    Open the address that is printed. At each step the page shows the registers, the modules, and memory as
    it was then: click on any address. With --share there are two addresses: yours moves the step, the
    other is for a class, which follows. Ctrl-C ends it.
    """
    from kmod_emu.observe.live.app import Site
    from kmod_emu.observe.live.moments import Moments
    from kmod_emu.observe.live.server import listen
    from kmod_emu.observe.live.server import serve as answer

    listener, host = listen(port, shared=share)
    with listener:
        model, moments = collected(module, params, Moments, **run)
        moments.finish()
        site = Site(model, moments, shared=share)
        if site.viewer is None:
            click.echo(f"http://{host}{site.presenter}    {len(moments)} steps; Ctrl-C ends")
        else:
            click.echo(f"for you:       http://{host}{site.presenter}    moves the step; Ctrl-C ends")
            click.echo(f"for the class: http://{host}{site.viewer}    follows")
        answer(site.app, listener)
