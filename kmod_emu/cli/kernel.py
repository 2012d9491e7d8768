"""kmod-emu kernel: the kernels that `--kernel` finds by name."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from kmod_emu.text import tame

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernels import Installed

_FAILED = 1
_NEWEST = "linux-image-amd64"  # depends on the newest one
_PACKAGE = "linux-image-"


@click.group()
def kernel() -> None:
    """Kernels of distributions that `run --kernel` can boot, by the name of their release.

    Those in /boot are there already. Add others from a file or a package, or fetch them with this system's
    package manager; none of it installs anything.
    """


@kernel.command("list")
def list_kernels() -> None:
    """List the kernels that are known, and where their modules are."""
    from kmod_emu.vmlinux import kernels

    known = kernels.available()
    if not known:
        click.echo("none: `kmod-emu kernel add VMLINUZ`, or `kmod-emu kernel fetch`", err=True)
    for each in known:
        place = "added" if each.added else str(each.image.parent)
        click.echo(f"{each.release:<26} {place:<7} {_modules_of(each)}")


@kernel.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of a vmlinuz: the directory of its modules, with modules.dep.  [default: /lib/modules/RELEASE]",
)
def add(source: Path, modules: Path | None) -> None:
    """Add a kernel: a vmlinuz, a Debian package of one, or a directory with both.

    Of a package the modules are kept too; those in a directory stay where they are.
    """
    _add(source, modules)


@kernel.command()
@click.argument("release", required=False)
def fetch(release: str | None) -> None:
    """Download a kernel's package with apt-get, and add it; nothing is installed.

    RELEASE is as `uname -r` prints it, such as 6.1.0-56-amd64; by default the newest for this system.
    """
    package = _PACKAGE + release if release else _newest()
    with tempfile.TemporaryDirectory() as folder:
        click.echo(f"apt-get download {package}", err=True)
        _apt("apt-get", "download", package, folder=folder)
        (file,) = Path(folder).iterdir()
        _add(file, None)


@kernel.command()
@click.argument("release")
def remove(release: str) -> None:
    """Remove a kernel that you added."""
    from kmod_emu.vmlinux import adding

    try:
        adding.remove(release)
    except LookupError:
        _fail(f"you have added no kernel {tame(release)}")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")


def _add(source: Path, modules: Path | None) -> None:
    from kmod_emu.vmlinux import adding, deb
    from kmod_emu.vmlinux.errors import BadImage

    try:
        if source.is_dir():
            added = adding.add_directory(source)
        else:
            blob = source.read_bytes()
            package = blob.startswith(deb.MAGIC)
            added = adding.add_package(blob) if package else adding.add_image(blob, modules)
            if package and added.modules:
                _depmod(added)
    except OSError as error:
        _fail(f"{error.filename or source}: {error.strerror}")
    except BadImage as error:
        _fail(f"{source}: {tame(str(error))}")
    click.echo(f"{added.release}: {_modules_of(added)}; boot it with --kernel {added.release}")


def _depmod(added: Installed) -> None:
    """Packages leave it to the installation."""
    from kmod_emu.cli.command import run

    click.echo("depmod ...", err=True)
    if status := run("depmod", ["-b", str(added.image.parent), added.release], None, "kmod_emu.kmod"):
        sys.exit(status)


def _modules_of(known: Installed) -> str:
    if known.modules is None:
        return "no modules"
    return f"modules in {known.modules.resolve()}"


def _newest() -> str:
    """The package that the one without a release depends on."""
    told = _apt("apt-cache", "depends", "--important", _NEWEST)
    names = [word for word in told.split() if word.startswith(_PACKAGE) and word != _NEWEST]
    if not names:
        _fail(f"apt knows no {_NEWEST}; name a release: kmod-emu kernel fetch 6.1.0-56-amd64")
    return names[-1]


def _apt(*command: str, folder: str | None = None) -> str:
    """What a program of apt's prints."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        _fail("no apt here: download a kernel's package yourself, then `kmod-emu kernel add FILE`")
    if done.returncode:
        _fail(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{command[0]} failed")
    return done.stdout


def _fail(text: str) -> NoReturn:
    click.echo(f"kmod-emu: {text}", err=True)
    sys.exit(_FAILED)
