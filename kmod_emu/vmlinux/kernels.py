"""Kernels that `--kernel` finds by name: those that were added, and what lies in /boot.

An added kernel is a directory of its release: `vmlinuz`, and `lib/modules/RELEASE` with modules.dep and its
kin, or a link to a directory that has them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu import home
from kmod_emu.vmlinux import deb, facts, kallsyms, systemmap
from kmod_emu.vmlinux.errors import NO_SYMBOLS, BadImage
from kmod_emu.vmlinux.vmlinux import Vmlinux

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOT, MODULES = Path("/boot"), Path("/lib/modules")
_IMAGE, _SYSTEM_MAP = "vmlinuz", "System.map"
_ET_REL = b"\x01\0"
_NAME = re.compile(r"vmlinu[xz](-\d\S*)?\Z")
_RELEASE = re.compile(r"\d[\w.+~-]*\Z")


class Installed(NamedTuple):
    """A kernel that can be booted.

    Attributes:
        release: As `uname -r` prints it.
        image: Its vmlinuz.
        modules: A directory of its modules, if there is one.
        added: Whether it was added, and can be removed.
    """

    release: str
    image: Path
    modules: Path | None
    added: bool


def directory() -> Path:
    """Where kernels are kept that the user added."""
    return home.directory("DATA") / "kernels"


def available() -> list[Installed]:
    """All that are known, oldest release first; one that was added comes before the system's own."""
    found = {}
    for image in BOOT.glob("vmlinuz-*"):
        release = image.name.removeprefix("vmlinuz-")
        found[release] = Installed(release, image, _existing(MODULES / release), added=False)
    for image in directory().glob(f"[!.]*/{_IMAGE}"):  # others are what an end in the middle has left
        release = image.parent.name
        found[release] = Installed(release, image, _existing(_modules(image.parent, release)), added=True)
    return sorted(found.values(), key=lambda kernel: _order(kernel.release))


def find(name: str) -> Installed | None:
    """The kernel of a release, or the newest of a series such as 6.1."""
    kernels = available()
    exact = [kernel for kernel in kernels if kernel.release == name]
    series = [kernel for kernel in kernels if re.match(re.escape(name) + r"[.-]", kernel.release)]
    return next(reversed(exact or series), None)


def locate(image: str) -> tuple[str, str | None]:
    """The file of a kernel that may be named by its release, and where its modules are if that is known."""
    if os.path.exists(image) or (known := find(image)) is None:
        return image, None
    return str(known.image), str(known.modules) if known.modules else None


def release_at(image: str) -> str:
    """The release of a kernel in a file, which mostly says so in its name.

    Raises:
        BadImage: As `release_of`.
        OSError: It cannot be read.
    """
    named = re.match(r"vmlinu[xz]-(\d\S*)\Z", os.path.basename(image))
    with open(image, "rb") as file:
        return named[1] if named else release_of(file.read())


def _modules(folder: Path, release: str) -> Path:
    return folder / "lib" / "modules" / release


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _order(release: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", release)]


# --- adding and removing ------------------------------------------------------------------------------


def add_image(blob: bytes, modules: Path | None = None, symbols: bytes = b"") -> Installed:
    """Keep a kernel; its modules stay where they are.

    Args:
        blob: A vmlinuz or vmlinux.
        modules: A directory with modules.dep; by default the system's for this release, if it is there.
        symbols: Its System.map, which is wanted where the image has no symbols.

    Raises:
        BadImage: It is no kernel that can be booted.
        OSError: It cannot be kept.
    """
    release = release_of(blob, symbols)
    with _place(release) as folder:
        (folder / _IMAGE).write_bytes(blob)
        if symbols:
            (folder / _SYSTEM_MAP).write_bytes(symbols)
        linked = modules or _existing(MODULES / release)
        if linked is not None:
            place = _modules(folder, release)
            place.parent.mkdir(parents=True)
            place.symlink_to(linked.resolve(), target_is_directory=True)
    return _added(release)


def add_directory(source: Path) -> Installed:
    """Keep the kernel in a directory such as an unpacked package; its modules stay where they are.

    Raises:
        BadImage: There is none, or more than one.
        OSError: It cannot be read, or not be kept.
    """
    named = sorted(path for path in source.rglob("vmlinu[xz]*") if _NAME.match(path.name))
    images = [path for path in named if path.is_file()]
    if len(images) != 1:
        count = len(images) or "no"
        raise BadImage(f"a directory with {count} kernel images: one file named vmlinuz* is wanted")
    blob = images[0].read_bytes()
    maps = [path.read_bytes() for path in sorted(source.rglob("System.map*")) if path.is_file()]
    symbols = next(filter(systemmap.parse, maps), b"")
    release = release_of(blob, symbols)
    lists = (path.parent for path in sorted(source.rglob("modules.dep")))
    return add_image(blob, next((path for path in lists if path.name == release), None), symbols)


def add_package(package: bytes) -> Installed:
    """Keep the kernel of a Debian package, and its modules.

    They have no modules.dep yet: packages come without.

    Raises:
        BadImage: It is no package of a kernel.
        OSError: It cannot be kept.
    """
    with _place(None) as folder:
        release = None
        for path, contents in deb.files(package):
            path = path.relative_to("usr") if path.parts[0] == "usr" else path
            if path.name.startswith("vmlinuz-"):
                release = release_of(contents)
                (folder / _IMAGE).write_bytes(contents)
            elif path.parts[:2] == ("lib", "modules"):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(contents)
        if release is None:
            raise BadImage(
                "a Debian package without a vmlinuz: the one of a kernel is named linux-image-RELEASE"
            )
        _put(folder, release)
    return _added(release)


def remove(release: str) -> None:
    """Forget a kernel that was added.

    Raises:
        LookupError: None of that release was.
    """
    if release not in {kernel.release for kernel in available() if kernel.added}:
        raise LookupError(release)
    shutil.rmtree(directory() / release)


def release_of(blob: bytes, system_map: bytes = b"") -> str:
    """Which kernel it is.

    Args:
        blob: The image.
        system_map: Its System.map, in case that it has no symbols.

    Raises:
        BadImage: It is none, or has no symbols: its functions could not be found.
    """
    if blob[:4] == b"\x7fELF" and blob[16:18] == _ET_REL:
        raise BadImage("an object file, such as a module, and no kernel image")
    image = Vmlinux.from_image(blob)
    symbols = kallsyms.find(image) or systemmap.parse(system_map)
    if symbols is None:
        raise BadImage(NO_SYMBOLS)
    release = facts.identify(image, symbols).release
    if not _RELEASE.match(release):
        raise BadImage("a kernel image that does not say which release it is")
    return release


def _added(release: str) -> Installed:
    folder = directory() / release
    return Installed(release, folder / _IMAGE, _existing(_modules(folder, release)), added=True)


@contextmanager
def _place(release: str | None) -> Iterator[Path]:
    """A directory to fill; it becomes the kernel's when all is well, else nothing is left of it."""
    directory().mkdir(parents=True, exist_ok=True)
    home.remove_leftovers(directory())
    folder = Path(tempfile.mkdtemp(prefix=".adding.", dir=directory()))
    try:
        yield folder
        if release is not None:
            _put(folder, release)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(folder: Path, release: str) -> None:
    """Put it in the place of what was there."""
    target = directory() / release
    if target.exists():
        shutil.rmtree(target)
    folder.chmod(0o755)
    folder.rename(target)
