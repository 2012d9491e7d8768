"""Adding kernels to those that `--kernel` finds by name, and removing them."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu import home
from kmod_emu.vmlinux import deb, facts, kallsyms, kernels, systemmap
from kmod_emu.vmlinux.errors import NO_SYMBOLS, BadImage
from kmod_emu.vmlinux.kernels import IMAGE, Installed, available, directory, existing, modules_of
from kmod_emu.vmlinux.vmlinux import Vmlinux

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEM_MAP = "System.map"
_ET_REL = b"\x01\0"
_NAME = re.compile(r"vmlinu[xz](-\d\S*)?\Z")
_RELEASE = re.compile(r"\d[\w.+~-]*\Z")


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
        (folder / IMAGE).write_bytes(blob)
        if symbols:
            (folder / _SYSTEM_MAP).write_bytes(symbols)
        linked = modules or existing(kernels.MODULES / release)
        if linked is not None:
            place = modules_of(folder, release)
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
                (folder / IMAGE).write_bytes(contents)
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
    return Installed(release, folder / IMAGE, existing(modules_of(folder, release)), added=True)


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
