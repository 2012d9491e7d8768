"""Kernels that `--kernel` finds by name: those that were added, and what lies in /boot.

An added kernel is a directory of its release: `vmlinuz`, and `lib/modules/RELEASE` with modules.dep and its
kin, or a link to a directory that has them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from kmod_emu import home

BOOT, MODULES = Path("/boot"), Path("/lib/modules")
IMAGE = "vmlinuz"


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
        found[release] = Installed(release, image, existing(MODULES / release), added=False)
    for image in directory().glob(f"[!.]*/{IMAGE}"):  # others are what an end in the middle has left
        release = image.parent.name
        found[release] = Installed(release, image, existing(modules_of(image.parent, release)), added=True)
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
        if named:
            return named[1]
        from kmod_emu.vmlinux.adding import release_of

        return release_of(file.read())


def modules_of(folder: Path, release: str) -> Path:
    """Where an added kernel's modules are."""
    return folder / "lib" / "modules" / release


def existing(folder: Path) -> Path | None:
    """A directory, if it is there."""
    return folder if folder.is_dir() else None


def _order(release: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", release)]
