"""kmod-emu profile: build kernel profiles, list them, look into them, remove them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from kmod_emu import atomic
from kmod_emu.abi import profile as profiles
from kmod_emu.cli.main import USAGE_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kmod_emu.abi.profile import Export, Member, Profile, StructLayout

_BTF_MAGIC = b"\x9f\xeb"
_RUNNING_KERNEL = "/sys/kernel/btf/vmlinux"
_FAILED = 1


@click.group()
def profile() -> None:
    """What this program knows of each kernel release: exports, layouts of structures, version magic.

    Some releases come along; make one for any other x86-64 kernel from its vmlinuz. `boot --release` and
    `run` then find it.
    """


@profile.command()
@click.argument("kernel", metavar="VMLINUZ_OR_BTF")
@click.argument("symvers", metavar="[MODULE.SYMVERS]", required=False)
@click.option("--release", default="", help="Of a BTF file, as `uname -r` prints it.")
@click.option(
    "--vermagic", default="", help="Of a BTF file: the version magic that modinfo shows of a module."
)
def build(kernel: str, symvers: str | None, release: str, vermagic: str) -> None:
    """Make a profile of a kernel and keep it in your data directory.

    The kernel is a vmlinuz or vmlinux file, which needs nothing more, or its BTF with its Module.symvers:
    /sys/kernel/btf/vmlinux, or the vmlinux in a package of headers. What an image lacks is left out, and
    said.
    """
    from kmod_emu.abi.btf import BadBtf
    from kmod_emu.vmlinux.errors import BadImage

    progress = _Progress()
    try:
        exports = _read_symvers(symvers) if symvers else []
        blob = Path(kernel).read_bytes()
        contents = _build(kernel, blob, exports, release, vermagic, progress.step)
    except OSError as error:
        _fail(f"{error.filename or kernel}: {error.strerror}")
    except (BadImage, BadBtf) as error:
        _fail(f"{kernel}: {error}")
    finally:
        progress.end()
    made = profiles.Profile.from_bytes(contents)
    path = profiles.user_directory() / f"{made.release}{profiles.SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, contents)
    except OSError as error:
        _fail(f"{path}: {error.strerror}")
    click.echo(f"{made.release}: {_summary(made)}")
    for lack in made.missing:
        click.echo(f"not known: {lack}")
    click.echo(f"kept in {path}")


def _build(
    name: str,
    blob: bytes,
    exports: Sequence[Export],
    release: str,
    vermagic: str,
    progress: Callable[[str], None],
) -> bytes:
    """The contents of the profile, from whichever kind of file it is."""
    from kmod_emu.vmlinux.build import from_btf, from_image
    from kmod_emu.vmlinux.vmlinux import types_only

    types = blob if blob.startswith(_BTF_MAGIC) else types_only(blob)
    if not types:
        return from_image(blob, exports, progress)
    running = os.path.realpath(name) == _RUNNING_KERNEL
    if not exports:
        _fail(f"{name}: BTF has no exports; give the kernel's Module.symvers too", USAGE_ERROR)
    release = release or vermagic.partition(" ")[0] or (os.uname().release if running else "")
    if not _is_release(release):
        _fail(
            f"{name}: BTF does not say which kernel it is of; name it: --release 6.1.0-56-amd64", USAGE_ERROR
        )
    progress("reading its types")
    return from_btf(types, exports, release, vermagic, os.uname().version if running else "")


def _is_release(text: str) -> bool:
    """Whether a text may be a release, and so a file's name."""
    return bool(text) and text[0].isdigit() and "/" not in text and text.isprintable() and " " not in text


def _read_symvers(path: str) -> list[Export]:
    from kmod_emu.vmlinux.symvers import BadSymvers, read_symvers

    try:
        return read_symvers(Path(path).read_text(encoding="utf-8", errors="replace"))
    except BadSymvers as error:
        _fail(f"{path}: {error}")


@profile.command(name="list")
def list_() -> None:
    """List the profiles there are."""
    for release in profiles.available():
        try:
            known = profiles.load(release)
        except LookupError as error:
            click.echo(f"kmod-emu: {error}", err=True)
            continue
        whose = "shipped" if profiles.path(release).parent == profiles.SHIPPED else "yours"
        click.echo(f"{release:<28} {whose:<8} {_summary(known)}")


@profile.command()
@click.argument("release")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def show(release: str, names: tuple[str, ...]) -> None:
    """Show what is known of a RELEASE, or of structures and exports by NAME."""
    known = _load(release)
    if not names:
        _show_release(known)
    failed = False
    for name in names:
        tag = name.removeprefix("struct ")
        if tag in known.structs:
            _show_struct(known.struct(tag))
        if name in known.exports:
            _show_export(known, known.exports[name])
        elif tag not in known.structs:
            click.echo(f"kmod-emu: {known.release} has no structure and no export {name}", err=True)
            failed = True
    sys.exit(_FAILED if failed else 0)


@profile.command()
@click.argument("release")
def remove(release: str) -> None:
    """Remove a profile that you built."""
    path = profiles.user_directory() / f"{release}{profiles.SUFFIX}"
    if not _is_release(release) or not path.is_file():
        shipped = release in profiles.available()
        _fail(f"{release} comes with kmod-emu and stays" if shipped else f"you have no profile of {release}")
    path.unlink()


def _load(release: str) -> Profile:
    try:
        return profiles.load(release)
    except LookupError as error:
        _fail(str(error), USAGE_ERROR)


def _summary(known: Profile) -> str:
    crcs = "with CRCs" if known.modversions else "without CRCs"
    return f"{len(known.exports)} exports {crcs}, {len(known.structs)} structures"


def _show_release(known: Profile) -> None:
    facts = {
        "release": known.release,
        "version": known.version,
        "vermagic": known.vermagic.rstrip(),
        "config": ", ".join(f"{option}={_kconfig(value)}" for option, value in sorted(known.config.items())),
        "exports": str(len(known.exports)),
        "structures": str(len(known.structs)),
        "trusted keys": str(len(known.certificates)),
        "built-in modules": str(len(known.builtin_modules)),
        "file": str(profiles.path(known.release)),
    }
    for name, value in facts.items():
        click.echo(f"{name + ':':<18}{value or 'not known'}")
    for lack in known.missing:
        click.echo(f"{'not known:':<18}{lack}")


def _kconfig(value: int | bool) -> str:
    return str(value) if not isinstance(value, bool) else "y" if value else "n"


def _show_struct(layout: StructLayout) -> None:
    click.echo(f"struct {layout.name}, {layout.size} bytes")
    for name, place in layout.members.items():
        click.echo(f"  {place.offset:>5} {name} ({place.size}{_bits(place)})")


def _bits(place: Member) -> str:
    if place.bit is None or place.bits is None:
        return ""
    last = place.bit + place.bits - 1
    return f", bit {place.bit}" if place.bits == 1 else f", bits {place.bit} to {last}"


def _show_export(known: Profile, export: Export) -> None:
    words = [known.prototype(export.name) or export.name, "GPL only" if export.gpl else "for all"]
    if export.namespace:
        words.append(f"namespace {export.namespace}")
    if export.crc is not None:
        words.append(f"CRC {export.crc:#010x}")
    click.echo("; ".join(words))


def _fail(sentence: str, status: int = _FAILED) -> NoReturn:
    from kmod_emu.text import escape

    click.echo(f"kmod-emu: {escape(sentence.encode('utf-8', 'surrogateescape'))}", err=True)
    sys.exit(status)


class _Progress:
    """One line on a terminal that says what is going on."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def step(self, name: str) -> None:
        """Replace the line."""
        if self._shown:
            click.echo(f"\r\x1b[K{name} ...", nl=False, err=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
