"""kmod-emu trace: the calls of a module, from insmod to rmmod."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import Setup, boots_machine
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.limits import limit_time, time_limit
from kmod_emu.cli.main import UID, colour
from kmod_emu.errors import KernelError
from kmod_emu.observe.run import Run
from kmod_emu.observe.trace.tracer import DEFAULT, KINDS, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from kmod_emu.api import Kernel
    from kmod_emu.observe.trace.tracer import Sink

_LIMIT = 100_000


def _kinds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return DEFAULT
    kinds = tuple(KINDS) if value == "all" else tuple(value.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}, all.")
    return kinds


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("-e", "kinds", metavar="KIND,...", callback=_kinds,
              help=f"What to show: {', '.join(KINDS)} or all. [default: {','.join(DEFAULT)}]")  # fmt: skip
@click.option("--only", multiple=True, metavar="PATTERN", help="Only functions of such a name: 'mutex_*'.")
@click.option("--not", "without", multiple=True, metavar="PATTERN", help="No functions of such a name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as docs/trace.md has them.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there.")
@click.option("--chrome", type=click.Path(dir_okay=False), metavar="FILE",
              help="Also write the trace for Perfetto or chrome://tracing.")  # fmt: skip
@click.option("--lcov", type=click.Path(dir_okay=False), metavar="FILE",
              help="Also write which source lines ran, for genhtml.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=0), default=_LIMIT, show_default=True, help="Lines at most.")
@click.option("--sh", "script", metavar="SCRIPT", help="What busybox's shell does before rmmod.")
@click.option("--busybox", type=click.Path(dir_okay=False), default="/bin/busybox", show_default=True,
              help="A static busybox, for --sh.")  # fmt: skip
@click.option("--for", "seconds", type=click.FloatRange(min=0, max=1e9), default=0.0, metavar="SECONDS",
              help="Let virtual time pass before rmmod, for threads and timers.")  # fmt: skip
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@boots_machine
@time_limit(20.0)
@reports_errors
def trace(
    module: str,
    params: tuple[str, ...],
    kinds: tuple[str, ...],
    output: str | None,
    script: str | None,
    seconds: float,
    uid: int,
    setup: Setup,
    **options: Any,
) -> None:
    """Load MODULE on a fresh machine and print its calls, as strace does, until it is removed again.

    MODULE is a .ko file or the name of a sample. The trace goes to standard output, what the shell's commands
    print to standard error. Exit status as `run`.
    """
    kernel, path, _ = setup.boot(module)
    limit_time(kernel, options["time_limit"])
    with ExitStack() as files:

        def opened(name: str | None) -> TextIO:
            return files.enter_context(open(name, "w", errors="surrogateescape")) if name else sys.stdout

        tracer = Tracer(
            kernel, _sinks(opened, output, options), kinds, only=options["only"], without=options["without"]
        )
        with ends_at_once():
            result = Run(kernel, path, " ".join(params), uid)
            result.look()
            if script is not None and result.error is None:
                _shell(kernel, script, options["busybox"])
            kernel.advance(seconds)
            result.remove()
        tracer.finish()
        if options["lcov"]:
            from kmod_emu.observe.trace.lcov import line_counts, tracefile

            opened(options["lcov"]).writelines(
                f"{line}\n" for line in tracefile(line_counts(tracer.flow), result.name)
            )
    for report in kernel.findings.reports:
        click.echo(f"kmod-emu: {report['text']}", err=True)
    sys.exit(result.status)


def _sinks(opened: Callable[[str | None], TextIO], output: str | None, options: dict[str, Any]) -> list[Sink]:
    from kmod_emu.observe.trace.jsonlines import ChromeSink, JsonSink
    from kmod_emu.observe.trace.text import TextSink

    file, limit = opened(output), options["limit"]

    def line(text: str) -> None:
        click.echo(text, file=file)

    emphasize = colour if output is None else str
    sinks: list[Sink] = [JsonSink(line, limit) if options["as_json"] else TextSink(line, limit, emphasize)]
    if options["chrome"]:
        chrome = opened(options["chrome"])
        sinks.append(ChromeSink(lambda text: click.echo(text, file=chrome, nl=False), limit))
    return sinks


def _shell(kernel: Kernel, script: str, busybox: str) -> None:
    """A shell on the machine; what it prints is no part of the trace."""
    try:
        ended = kernel.exec("/bin/sh", ["-c", script], busybox=busybox)
    except (KernelError, OSError) as error:
        click.echo(f"kmod-emu: --sh: {busybox}: {error.strerror}", err=True)
        return
    for data in (ended.stdout, ended.stderr):
        click.echo(data, nl=False, err=True)
    if ended.status:
        click.echo(f"kmod-emu: the shell ended with status {ended.status}", err=True)
