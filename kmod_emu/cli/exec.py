"""kmod-emu exec: a Linux program on the machine, connected to this terminal."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.base import BASE, LOADER, STUB, boot_base
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.devices import DEVICES, MODPROBE, furnish
from kmod_emu.cli.limits import LIMITS, obey_limits
from kmod_emu.cli.main import CLASSIC_SUFFIX, UID, USAGE_ERROR
from kmod_emu.errors import InternalError, KernelError, Killed
from kmod_emu.kernel.internal import failed
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.user.execute import ExecResult

_NOT_FOUND, _CANNOT_RUN = 127, 126


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--release", help="The kernel release, as in `uname -r`, or a series such as 6.1.")
@BASE
@LOADER
@click.option("--kept", is_flag=True, help="Use the kept machine, and keep what the program does to it.")
@click.option(
    "--insmod", "modules", multiple=True, metavar="'FILE [NAME=VALUE...]'", help="Load a module first."
)
@click.option("--bind", "binds", multiple=True, metavar="HOST:GUEST[:ro|:rw]",
              help="Show a file or directory. A real kernel gets a copy, and rw copies it back.")  # fmt: skip
@click.option("--sysroot", type=click.Path(exists=True, file_okay=False), help="Where libraries come from.")
@click.option("--busybox", type=click.Path(), default="/bin/busybox", show_default=True,
              help="A static busybox: the machine's /bin.")  # fmt: skip
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="Set a variable.")
@click.option("--uid", type=UID, default=0, help="Who runs it.")
@click.option("--time-limit", type=click.FloatRange(min=0), help="Processor seconds, then it is killed.")
@click.option("--modules", "directory", type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="Where request_module() finds modules: a directory with modules.dep.")  # fmt: skip
@DEVICES
@MODPROBE
@LIMITS
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@reports_errors
def exec_(
    state: str | None,
    release: str | None,
    base: str,
    loader: str,
    kept: bool,
    modules: tuple[str, ...],
    binds: tuple[str, ...],
    sysroot: str | None,
    busybox: str,
    environment: tuple[str, ...],
    uid: int,
    time_limit: float | None,
    directory: str | None,
    program: str,
    arguments: tuple[str, ...],
) -> None:
    """Run a Linux program in ring 3 of the machine; its exit status is this command's.

    The program is looked for on the machine, then on the host; of the host's files it sees only itself and
    what --bind shows.
    """
    from kmod_emu.user.execute import ENVIRONMENT

    if bad := next((word for word in environment if "=" not in word), None):
        raise click.UsageError(f"--env {bad}: NAME=VALUE is expected")
    with _machine(state, release, base, loader, directory, kept=kept) as kernel:
        furnish(kernel)
        _furnish(kernel, binds, sysroot, busybox)
        for module in modules:
            file, _, params = module.partition(" ")
            _insmod(kernel, file, params)
        path = _find(kernel, program)
        env = ENVIRONMENT | dict(word.split("=", 1) for word in environment)
        result = _run(kernel, path, [program, *arguments], env, uid, time_limit)
        kernel.userland.give_back()
    for report in kernel.findings.reports:
        click.echo(f"kmod-emu: {report['text']}", err=True)
    for left in result.left if kept else ():
        click.echo(f"kmod-emu: {left} ended: programs are no part of a kept machine", err=True)
    if result.timed_out:
        click.echo(f"kmod-emu: ended after {time_limit:g} s of processor time", err=True)
    sys.exit(InternalError.exit_status if failed(kernel) else result.status)


@contextmanager
def _machine(
    state: str | None, release: str | None, base: str, loader: str, modules: str | None, *, kept: bool
) -> Iterator[Kernel]:
    from kmod_emu.cli.machine import machine

    if kept:
        if modules is not None:
            raise click.UsageError(
                "--modules is for a fresh machine; `boot --modules` says it for a kept one"
            )
        with machine(state, change=True) as kernel:
            obey_limits(kernel)
            yield kernel
        return
    if base != STUB:
        if release is not None:
            raise click.UsageError("--release is for the stub kernel")
        real = boot_base(base, loader=loader, modules=modules)
        obey_limits(real)
        yield real
        return
    try:
        kernel = _stub(state, release, modules)
    except LookupError as error:
        click.echo(f"kmod-emu: {error.args[0]}", err=True)
        sys.exit(USAGE_ERROR)
    obey_limits(kernel)
    yield kernel


def _stub(state: str | None, release: str | None, modules: str | None) -> Kernel:
    """A fresh machine with the stub kernel, or the personality of 2.4."""
    from kmod_emu.api import Kernel
    from kmod_emu.cli.machine import state_path

    if release is None and state_path(state).name.endswith(CLASSIC_SUFFIX):
        from kmod_emu.classic.kernel import ClassicKernel

        return ClassicKernel(modules=modules)
    return Kernel(release, modules=modules)


def _furnish(kernel: Kernel, binds: tuple[str, ...], sysroot: str | None, busybox: str) -> None:
    given = click.get_current_context().get_parameter_source("busybox")
    explicit = given is not None and given.name != "DEFAULT"
    if explicit or (os.path.isfile(busybox) and sysroot is None):
        kernel.userland.install_busybox(busybox)
    if sysroot is not None:
        kernel.userland.bind_sysroot(Path(sysroot))
    for binding in binds:
        words = binding.split(":")
        if len(words) not in (2, 3) or not words[1].startswith("/") or words[2:] not in ([], ["ro"], ["rw"]):
            raise click.UsageError(f"--bind {binding}: HOST:GUEST, with :ro or :rw behind it, is expected")
        if not os.path.exists(words[0]):
            raise click.UsageError(f"--bind {binding}: there is no {words[0]}")
        kernel.userland.bind(Path(words[0]), words[1], "".join(words[2:]))


def _insmod(kernel: Kernel, file: str, params: str) -> None:
    from kmod_emu import samples
    from kmod_emu.kmod import insmod

    sample = kernel.profile.series != "2.4" and file in samples.names() and not os.path.exists(file)
    path = str(samples.path(file)) if sample else file
    try:
        kernel.insmod(path, params)
    except Killed:
        raise
    except KernelError as error:
        raise insmod.refused(kernel, path, error) from None
    except OSError as error:
        raise ToolError(f"kmod-emu: {path}: {error.strerror}") from None


def _find(kernel: Kernel, program: str) -> str:
    """Where the program is on the machine; the host's is put there if need be."""
    from kmod_emu.user.execute import ENVIRONMENT

    places = [program] if "/" in program else [f"{d}/{program}" for d in ENVIRONMENT["PATH"].split(":")]
    for place in places:
        if kernel.userland.exists(os.path.normpath(os.path.join("/", place))):
            return place
    host = program if "/" in program else shutil.which(program)
    if host is None or not os.path.isfile(host):
        click.echo(f"kmod-emu: {program}: No such file or directory", err=True)
        sys.exit(_NOT_FOUND)
    path = os.path.abspath(host)
    try:
        kernel.userland.put_file(path, Path(host).read_bytes(), 0o555, lent=True)
    except OSError as error:
        click.echo(f"kmod-emu: {program}: {error.strerror}", err=True)
        sys.exit(_CANNOT_RUN)
    return path


def _run(
    kernel: Kernel, path: str, argv: list[str], env: dict[str, str], uid: int, time_limit: float | None
) -> ExecResult:
    sys.stdout.flush()
    try:
        with _terminal(kernel):
            return kernel.userland.execute(
                path, argv, env=env, stdin=0, stdout=1, stderr=2, uid=uid, time_limit=time_limit
            )
    except Killed:
        raise
    except KernelError as error:
        click.echo(f"kmod-emu: {argv[0]}: {error.strerror}", err=True)
        if error.explanation:
            click.echo(f"kmod-emu: {error.explanation}", err=True)
        sys.exit(_CANNOT_RUN)


@contextmanager
def _terminal(kernel: Kernel) -> Iterator[None]:
    """Ctrl-C goes to the program; the terminal's settings are put back."""
    from kmod_emu.user.programs import Programs

    programs = kernel[Programs]

    def interrupt(*_: object) -> None:
        programs.interrupted = True

    before = signal.signal(signal.SIGINT, interrupt)
    saved = None
    if os.isatty(0):
        import termios

        saved = termios.tcgetattr(0)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
