"""Commands on files of the kept machine: devices, echo, mknod, stat."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import complete_path, reports_errors
from kmod_emu.cli.listing import mode_letters
from kmod_emu.cli.main import UID, USAGE_ERROR
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import escape
from kmod_emu.uapi.stat import S_IFCHR, S_IFIFO, S_IFMT, is_type, major, minor, new_decode_dev

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.drivers.table import Driver

_KINDS = {"c": S_IFCHR, "u": S_IFCHR, "b": 0o060000, "p": S_IFIFO}
_TYPES = {
    0o100000: "regular file", 0o040000: "directory", 0o120000: "symbolic link", 0o140000: "socket",
    0o020000: "character special file", 0o060000: "block special file", 0o010000: "fifo",
}  # fmt: skip


def _shown(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also the devices of the base kernel itself.")
@click.option("--models", is_flag=True, help="List the devices instead that --device plugs in.")
@click.option("--json", "as_json", is_flag=True, help="Those as JSON.")
@click.pass_obj
@reports_errors
def devices(state: str | None, everything: bool, models: bool, as_json: bool) -> None:
    """Print the table of drivers: each device, and the function that each operation leads to.

    With --models, what can be plugged into a machine: name, what it is, its driver, and what may be said
    behind the name: `--device e1000,peer=10.0.0.1`.
    """
    if models:
        _print_models(as_json)
        return
    if as_json:
        raise click.UsageError("--json is for --models")
    from kmod_emu.cli.machine import machine

    with machine(state, change=False) as kernel:
        print_drivers(kernel.drivers(everything=everything))


def _print_models(as_json: bool) -> None:
    from kmod_emu.drivers.models import SHIPPED, find, keys

    if as_json:
        rows = [
            {
                "name": name,
                "what": it.what,
                "driver": it.driver,
                "keys": keys(name),
                "wiring": find(name).wiring,
            }
            for name, it in SHIPPED.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for name, it in SHIPPED.items():
        said = "".join(f",{key}={value}" for key, value in keys(name).items())
        click.echo(f"{name:8}{it.what}; driver {it.driver}" + f"; {said}" * bool(said))


def print_drivers(rows: Iterable[Driver]) -> None:
    """The table, each driver with its functions."""
    click.echo("major  minors    name")
    for row in rows:
        minors = f"{row.first}-{row.last}" if row.last != row.first else f"{row.first}"
        click.echo(f"{row.major:5d}  {minors:<8}  {_shown(row.name)}")
        for operation, function in row.operations.items():
            click.echo(f"{'':17}{operation:<16} {_shown(function)}")


@click.command()
@click.option("-n", "no_newline", is_flag=True, help="Write no newline behind the text.")
@click.option("-a", "--append", is_flag=True, help="Open the file with O_APPEND.")
@click.option("--uid", type=UID, default=0, help="Who writes.")
@click.argument("words", nargs=-1, required=True, metavar="TEXT... FILE", shell_complete=complete_path)
@click.pass_obj
@reports_errors
def echo(state: str | None, no_newline: bool, append: bool, uid: int, words: tuple[str, ...]) -> None:
    """Write text to a file of the kept machine, as `echo TEXT > FILE` does there."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.uapi.fcntl import O_APPEND, O_CREAT, O_TRUNC, O_WRONLY

    *text, path = words
    data = " ".join(text).encode("utf-8", "surrogateescape") + b"\n" * (not no_newline)
    with machine(state, change=True) as kernel, kernel.process(uid=uid, comm="echo") as process:
        try:
            fd = process.open(path, O_WRONLY | O_CREAT | (O_APPEND if append else O_TRUNC))
            while data:
                data = data[process.write(fd, data) or len(data) :]
        except Killed:
            raise
        except KernelError as error:
            raise ToolError(f"echo: {path}: {error.strerror}", 1) from None


@click.command()
@click.option("-m", "--mode", default="666", help="Permissions, in octal.")
@click.argument("path", shell_complete=complete_path)
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("numbers", nargs=-1, type=click.IntRange(0))
@click.pass_obj
@reports_errors
def mknod(state: str | None, mode: str, path: str, kind: str, numbers: tuple[int, ...]) -> None:
    """Make a device file (c MAJOR MINOR) or a named pipe (p) on the kept machine."""
    from kmod_emu.cli.machine import machine
    from kmod_emu.user.files import makedev

    try:
        permissions = int(mode, 8)
    except ValueError:
        click.echo(f"mknod: invalid mode: '{mode}'", err=True)
        sys.exit(USAGE_ERROR)
    if len(numbers) != (0 if kind == "p" else 2):
        click.echo("mknod: a device needs a major and a minor number, a pipe has none", err=True)
        sys.exit(USAGE_ERROR)
    with machine(state, change=True) as kernel, kernel.process(comm="mknod") as process:
        process.umask(0o022)
        try:
            process.mknod(path, _KINDS[kind] | permissions, makedev(*numbers) if numbers else 0)
        except KernelError as error:
            raise ToolError(f"mknod: {path}: {error.strerror}", 1) from None


@click.command()
@click.option("-L", "--dereference", is_flag=True, help="Follow a link at the end of the path.")
@click.argument("paths", nargs=-1, required=True, shell_complete=complete_path)
@click.pass_obj
@reports_errors
def stat(state: str | None, dereference: bool, paths: tuple[str, ...]) -> None:
    """Show what stat(2) says of files of the kept machine."""
    from kmod_emu.cli.machine import machine

    with machine(state, change=False) as kernel, kernel.process(comm="stat") as process:
        for path in paths:
            try:
                facts = process.stat(path, follow_symlinks=dereference)
            except KernelError as error:
                raise ToolError(f"stat: cannot statx '{path}': {error.strerror}", 1) from None
            kind = facts.mode & S_IFMT
            device = new_decode_dev(facts.rdev)
            numbers = f"\tDevice type: {major(device)},{minor(device)}" if is_type(kind, S_IFCHR) else ""
            click.echo(f"  File: {_shown(path)}")
            size, blocks = f"Size: {facts.size:<10}", f"Blocks: {facts.blocks:<10}"
            click.echo(f"  {size}\t{blocks} IO Block: {facts.blksize:<6} {_TYPES[kind]}")
            where = f"Device: {facts.dev >> 8},{facts.dev & 0xFF}"
            click.echo(f"{where}\tInode: {facts.ino:<11} Links: {facts.nlink}{numbers}")
            owner = f"Uid: ({facts.uid:5d})   Gid: ({facts.gid:5d})"
            click.echo(f"Access: ({facts.mode & 0o7777:04o}/{mode_letters(facts.mode)})  {owner}")
            when = datetime.fromtimestamp(facts.mtime // 10**9, UTC)
            click.echo(f"Modify: {when:%Y-%m-%d %H:%M:%S}.{facts.mtime % 10**9:09d} +0000")
