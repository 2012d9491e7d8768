"""kmod-emu record and replay: a run of a module in a file, and the same run again."""

from __future__ import annotations

import sys
import threading

import click

from kmod_emu.cli.command import complete_sample, reports_errors
from kmod_emu.cli.fresh import Setup, boots_machine, recording_at
from kmod_emu.cli.limits import limit_time
from kmod_emu.cli.main import UID
from kmod_emu.debug.debugger import Debugger, Place, Reason
from kmod_emu.debug.recording import SUFFIX, Recording
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.insmod import load_file
from kmod_emu.observe.run import LOADED, OOPSED, REFUSED
from kmod_emu.observe.steps import show


@click.command()
@click.argument("module", shell_complete=complete_sample)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    required=True,
    metavar=f"FILE{SUFFIX}",
    help="Where the recording goes.",
)
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@boots_machine
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0.1, max=1e6),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up code that never returns; the recording ends there.",
)
def record(
    module: str,
    params: tuple[str, ...],
    output: str,
    uid: int,
    setup: Setup,
    time_limit: float,
) -> None:
    """Load MODULE on a fresh machine and remove it again; keep in FILE.kmodrec what makes that repeatable.

    Prints the kernel log. The file holds the module, so that `replay`, `debug` and `gdbserver` can take it on
    any computer. Exit status as `run`.
    """
    kernel, path, _ = setup.boot(module)
    try:
        image = load_file(path).image
    except ToolError as error:
        click.echo(str(error), err=True)
        sys.exit(error.status)
    limit_time(kernel, time_limit)
    seconds = kernel.cpu.watchdog.limit
    debugger = Debugger(kernel)
    debugger.start(image, " ".join(params), uid=uid)
    timer = threading.Timer(threading.TIMEOUT_MAX if seconds is None else seconds, debugger.interrupt)
    timer.daemon = True
    timer.start()
    if not debugger.ended:
        debugger.continue_()
    timer.cancel()
    recording = Recording.of(debugger)
    recording.write(output)
    status = _tell(debugger)
    click.echo(f"kmod-emu: recorded in {output}: {len(recording.to_bytes())} bytes", err=True)
    debugger.close()
    sys.exit(status)


@click.command()
@click.argument("recording", type=click.Path(dir_okay=False), metavar=f"FILE{SUFFIX}")
@boots_machine
@reports_errors
def replay(recording: str, setup: Setup) -> None:
    """Do a recorded run again, and print the same kernel log.

    To look into it: `kmod-emu debug FILE.kmodrec` or `kmod-emu gdbserver FILE.kmodrec`. Exit status as `run`.
    """
    found = recording_at(recording)
    if found is None:
        with open(recording, "rb"):  # cannot be read: that is what is to be said
            pass
        raise KernelError(22, f"{recording} is no recording of kmod-emu")
    kernel = setup.boot(recording).kernel
    debugger = Debugger(kernel)
    stop = debugger.replay(found)
    if found.end is not None:
        debugger.go(Place(*found.end))
    elif stop.reason is not Reason.ENDED:
        debugger.continue_()
    status = _tell(debugger)
    if tuple(kernel.dmesg()) != found.log:
        click.echo(
            f"kmod-emu: this is not what was printed when it was recorded, by kmod-emu {show(found.version)}",
            err=True,
        )
        status = status or REFUSED
    debugger.close()
    sys.exit(status)


def _tell(debugger: Debugger) -> int:
    """Print the log and why the run ended; the exit status."""
    click.echo(debugger.kernel.printk.dmesg(), nl=False)
    error = debugger.error
    if not debugger.ended:
        place = show(debugger.kernel.describe(debugger.stop.address))
        click.echo(f"kmod-emu: given up at {place}", err=True)
        return OOPSED
    if error is None:
        return LOADED
    click.echo(f"kmod-emu: {show(error.explanation or error.strerror or '')}", err=True)
    return error.exit_status if isinstance(error, Killed) else REFUSED
