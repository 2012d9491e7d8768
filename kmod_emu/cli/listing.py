"""kmod-emu ls: names on the kept machine, and with -l what stat(2) says of them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import complete_path, reports_errors
from kmod_emu.errors import KernelError
from kmod_emu.text import escape
from kmod_emu.uapi.stat import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    is_type,
    major,
    minor,
    new_decode_dev,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.attributes import Status
    from kmod_emu.user.process import Process

_LETTERS = {
    0o100000: "-", 0o040000: "d", 0o120000: "l", 0o020000: "c", 0o060000: "b", 0o010000: "p", 0o140000: "s",
}  # fmt: skip
_SPECIAL = ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t"))
_BLOCK = 1024
_STATUS = 2  # of ls when something named on the command line cannot be listed


def mode_letters(mode: int) -> str:
    """Type and permissions in words.

    >>> mode_letters(0o021666)
    'crw-rw-rwT'
    """
    bits = [letter if mode >> (8 - bit) & 1 else "-" for bit, letter in enumerate("rwx" * 3)]
    for special, place, letter in _SPECIAL:
        if mode & special:
            bits[place] = letter.upper() if bits[place] == "-" else letter
    return _LETTERS[mode & S_IFMT] + "".join(bits)


@click.command()
@click.option("-l", "long", is_flag=True, help="Also mode, links, owner, size or device number, and time.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also names that begin with a dot.")
@click.option("-d", "--directory", is_flag=True, help="Directories themselves, not what is in them.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=complete_path)
@click.pass_obj
@reports_errors
def ls(state: str | None, long: bool, everything: bool, directory: bool, paths: tuple[str, ...]) -> None:
    """List directories and files of the kept machine, such as /sys/module."""
    from kmod_emu.cli.machine import machine

    status = 0
    with machine(state, change=False) as kernel, kernel.process(comm="ls") as process:
        found: dict[str, Status] = {}
        for path in paths or ("/",):
            try:
                found[path] = process.stat(path, follow_symlinks=not long)
            except KernelError as error:
                click.echo(f"ls: cannot access '{path}': {error.strerror}", err=True)
                status = _STATUS
        directories = [] if directory else [p for p, facts in found.items() if is_type(facts.mode, S_IFDIR)]
        files = {path: facts for path, facts in found.items() if path not in directories}
        _print(process, files, "", long=long)
        for number, path in enumerate(sorted(directories)):
            if len(found) > 1:
                click.echo(("\n" if files or number else "") + f"{_shown(path)}:")
            try:
                names = _names(process, path, everything=everything)
            except KernelError as error:
                click.echo(f"ls: cannot open directory '{path}': {error.strerror}", err=True)
                status = _STATUS
                continue
            below = {name: process.stat(f"{path}/{name}", follow_symlinks=False) for name in names}
            if long:
                click.echo(f"total {sum(facts.blocks * 512 for facts in below.values()) // _BLOCK}")
            _print(process, below, path + "/", long=long)
    sys.exit(status)


def _names(process: Process, path: str, *, everything: bool) -> list[str]:
    names = sorted(process.listdir(path))
    return [".", "..", *names] if everything else [name for name in names if not name.startswith(".")]


def _print(process: Process, found: dict[str, Status], where: str, *, long: bool) -> None:
    rows = [(*_columns(facts), name) for name, facts in found.items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    for row in rows:
        name = row[-1]
        line = _shown(name)
        if long:
            columns = [text.rjust(width) for text, width in zip(row[:5], widths, strict=True)]
            line = " ".join([*columns, row[5], line, *_target(process, where + name, found[name])])
        click.echo(line)


def _columns(facts: Status) -> Iterator[str]:
    yield mode_letters(facts.mode)
    yield from (str(facts.nlink), str(facts.uid), str(facts.gid))
    device = new_decode_dev(facts.rdev)
    special = is_type(facts.mode, S_IFCHR) or is_type(facts.mode, S_IFBLK)
    yield f"{major(device)}, {minor(device):3}" if special else str(facts.size)
    yield f"{datetime.fromtimestamp(facts.mtime // 10**9, UTC):%Y-%m-%d %H:%M}"


def _target(process: Process, path: str, facts: Status) -> list[str]:
    return ["->", _shown(process.readlink(path))] if is_type(facts.mode, S_IFLNK) else []


def _shown(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))
