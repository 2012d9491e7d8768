"""The tools on the kept machine: insmod, rmmod, lsmod, dmesg, modinfo, ksyms, cat, ls."""

from __future__ import annotations

import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.main import UID, USAGE_ERROR
from kmod_emu.errors import KernelError, Killed, Unimplemented
from kmod_emu.kernel.printk import escape
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

_KILLED, _UNIMPLEMENTED = 3, 4


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """A tool's error goes to standard error and ends with the tool's status; so does a crash in the guest."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except ToolError as error:
            click.echo(str(error), err=True)
            sys.exit(error.status)
        except Killed as death:
            click.echo("Killed" if death.signal == 9 else "Segmentation fault", err=True)
            click.echo(f"kmod-emu: {escape(death.explanation.encode('utf-8', 'surrogateescape'))}", err=True)
            sys.exit(_UNIMPLEMENTED if isinstance(death, Unimplemented) else _KILLED)

    return wrapped


@click.command()
@click.option("--release", help="The kernel release, as in `uname -r`, or a series such as 6.1.")
@click.pass_obj
@reports_errors
def boot(state: str | None, release: str | None) -> None:
    """Start a fresh machine and keep it for the other commands."""
    from kmod_emu.cli import machine

    try:
        kernel = machine.boot(state, release)
    except LookupError as error:
        click.echo(f"kmod-emu: {error.args[0]}", err=True)
        sys.exit(USAGE_ERROR)
    click.echo(f"Linux version {kernel.profile.release} {kernel.profile.version}")


@click.command()
@click.argument("file", required=False)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "-f", "--force", is_flag=True, help="Ignore for which kernel it was built: dangerous, as on Linux."
)
@click.option("--uid", type=UID, default=0, help="Who calls; only root, 0, may load modules.")
@click.pass_obj
@reports_errors
def insmod(state: str | None, file: str | None, params: tuple[str, ...], force: bool, uid: int) -> None:
    """Load the module FILE into the kept machine."""
    if file is None:
        raise ToolError("insmod: ERROR: missing filename.")
    if file == "-":
        raise ToolError("insmod: ERROR: this tool does not support loading from stdin!")
    from kmod_emu.cli.machine import machine
    from kmod_emu.kmod import insmod as tool

    with machine(state, change=True) as kernel:
        tool.insmod(kernel, file, params, force=force, uid=uid)


@click.command()
@click.argument("modules", nargs=-1)
@click.option("-f", "--force", is_flag=True, help="Remove it even if it is in use: dangerous, as on Linux.")
@click.option("--uid", type=UID, default=0, help="Who calls; only root, 0, may remove modules.")
@click.pass_obj
@reports_errors
def rmmod(state: str | None, modules: tuple[str, ...], force: bool, uid: int) -> None:
    """Remove MODULES from the kept machine."""
    if not modules:
        raise ToolError("rmmod: ERROR: missing module name.")
    from kmod_emu.cli.machine import machine
    from kmod_emu.kmod import rmmod as tool

    failure: ToolError | None = None
    with machine(state, change=True) as kernel:
        for module in modules:
            try:
                tool.rmmod(kernel, module, force=force, uid=uid)
            except ToolError as error:
                failure = error
                click.echo(str(error), err=True)
    sys.exit(failure.status if failure else 0)


@click.command()
@click.pass_obj
@reports_errors
def lsmod(state: str | None) -> None:
    """List the modules of the kept machine."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.kmod import lsmod as tool

    with machine(state, change=False) as kernel:
        click.echo(tool.lsmod(kernel), nl=False)


@click.command()
@click.option("-C", "--clear", is_flag=True, help="Clear the log instead of printing it.")
@click.option("-c", "--read-clear", is_flag=True, help="Print the log, then clear it.")
@click.option("-r", "--raw", is_flag=True, help="Print each line's level, as in the buffer.")
@click.option("-t", "--notime", is_flag=True, help="Print no time stamps.")
@click.pass_obj
@reports_errors
def dmesg(state: str | None, clear: bool, read_clear: bool, raw: bool, notime: bool) -> None:
    """Print the kernel log of the kept machine."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.kmod import dmesg as tool

    with machine(state, change=clear or read_clear) as kernel:
        if not clear:
            click.echo(tool.dmesg(kernel, raw=raw, notime=notime), nl=False)
        if clear or read_clear:
            kernel.printk.clear()


@click.command()
@click.argument("modules", nargs=-1)
@click.option("-F", "--field", metavar="FIELD", help="Print only this field's values.")
@click.option("-a", "--author", is_flag=True, help="Print only the author.")
@click.option("-d", "--description", is_flag=True, help="Print only the description.")
@click.option("-l", "--license", is_flag=True, help="Print only the licence.")
@click.option("-n", "--filename", is_flag=True, help="Print only the path.")
@click.option("-p", "--parameters", is_flag=True, help="Print only the parameters.")
@click.option("-0", "--null", is_flag=True, help="End entries by NUL instead of newline.")
@reports_errors
def modinfo(modules: tuple[str, ...], field: str | None, parameters: bool, null: bool, **only: bool) -> None:
    """Show what module files, or samples by name, say about themselves."""
    from kmod_emu import samples
    from kmod_emu.kmod import modinfo as tool

    if not modules:
        raise ToolError("modinfo: ERROR: missing module or filename.")
    field = next((name for name, wanted in only.items() if wanted), field)
    warn = partial(click.echo, err=True)
    for module in modules:
        path = str(samples.path(module)) if module in samples.names() else module
        for piece in tool.modinfo(path, field, parameters=parameters, null=null, warn=warn):
            click.echo(piece, nl=False)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also symbols that are not implemented here.")
@click.pass_obj
@reports_errors
def ksyms(state: str | None, everything: bool) -> None:
    """List the symbols that modules may use, with their addresses."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.kmod import ksyms as tool

    with machine(state, change=False) as kernel:
        click.echo(tool.ksyms(kernel, everything=everything), nl=False)


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--uid", type=UID, default=0, help="Who reads.")
@click.pass_obj
@reports_errors
def cat(state: str | None, paths: tuple[str, ...], uid: int) -> None:
    """Print files of the kept machine, such as /proc/modules."""
    from kmod_emu.cli.machine import machine

    failed = False
    with machine(state, change=False) as kernel:
        for path in paths:
            try:
                click.echo(_printable(kernel.cat(path, uid=uid)), nl=False)
            except KernelError as error:
                if isinstance(error, Killed):
                    raise
                failed = True
                click.echo(f"cat: {path}: {error.strerror}", err=True)
    sys.exit(int(failed))


@click.command()
@click.argument("path", default="/")
@click.pass_obj
@reports_errors
def ls(state: str | None, path: str) -> None:
    """List a directory of the kept machine, such as /sys/module."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.fs.tree import FileTree

    with machine(state, change=False) as kernel:
        tree = kernel[FileTree]
        try:
            names = sorted(tree.listdir(path)) if tree.lookup(path).children else [path]
        except KernelError as error:
            raise ToolError(f"ls: cannot access '{path}': {error.strerror}", 2) from None
    for name in names:
        click.echo(escape(name.encode("utf-8", "surrogateescape")))


def _printable(contents: bytes) -> bytes | str:
    """A file's contents, where a person reads them without what would command the terminal."""
    if not sys.stdout.isatty():
        return contents
    return "\n".join(escape(line) for line in contents.split(b"\n"))
