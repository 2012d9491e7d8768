"""The kernel headers that kbuild needs: where systems keep them, and how to get them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIGURED = "include/config/auto.conf"  # what headers have that modules can be built against
# By the ID of os-release(5) or one that it is like.
_ADVICE = {
    "debian": "apt install linux-headers-amd64",
    "ubuntu": "apt install linux-headers-generic",
    "fedora": "dnf install kernel-devel",
    "rhel": "dnf install kernel-devel",
    "suse": "zypper install kernel-default-devel",
    "arch": "pacman -S linux-headers",
    "alpine": "apk add linux-lts-dev",
    "gentoo": "emerge sys-kernel/gentoo-sources, and make modules_prepare there",
    "nixos": "nix-shell -p linux.dev",
}


def find_headers(release: str | None = None, root: Path = Path("/")) -> Path | None:
    """The headers of a release; of the running kernel, else the newest there are, for None.

    Args:
        release: As `uname -r` says it.
        root: Where the system's files begin.
    """
    return next(_candidates(release or os.uname().release, root), None) or (
        None if release else next(_candidates("*", root), None)
    )


def _candidates(release: str, root: Path) -> Iterator[Path]:
    for pattern in (
        f"lib/modules/{release}/build",
        f"usr/lib/modules/{release}/build",
        f"usr/src/linux-headers-{release}",
        f"usr/src/kernels/{release}",
    ):
        for folder in sorted(root.glob(pattern), key=lambda path: _numbers(str(path)), reverse=True):
            if (folder / _CONFIGURED).exists():
                yield folder


def _numbers(text: str) -> list[int]:
    """For sorting by version.

    >>> _numbers("6.1.0-56-amd64") > _numbers("6.1.0-9-amd64")
    True
    """
    return [int(digits) for digits in re.findall(r"\d+", text)]


def advice(root: Path = Path("/")) -> str:
    """How to get headers on this system."""
    names: dict[str, str] = {}
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        if path.exists():
            lines = path.read_text(errors="replace").splitlines()
            names = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
            break
    for name in (names.get("ID", ""), *names.get("ID_LIKE", "").split()):
        if name in _ADVICE:
            return f"on {names.get('PRETTY_NAME', name)}: {_ADVICE[name]}"
    return "install the package with your kernel's headers, or name a prepared kernel tree with --headers"
