"""Running kbuild on a directory of module sources (Documentation/kbuild/modules.rst)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BuildError(Exception):
    """Why nothing was built, in a sentence."""


def build(folder: Path, headers: Path, arguments: Sequence[str] = ()) -> list[Path]:
    """Build the modules of a directory; what make prints goes where this process prints.

    Args:
        folder: Has a Kbuild or Makefile with `obj-m`.
        headers: Of the kernel to build for.
        arguments: More words for make, such as `V=1`.

    Returns:
        The .ko files that are there now.

    Raises:
        BuildError: There is nothing to build, no make, or make failed.
    """
    if not any((folder / name).is_file() for name in ("Kbuild", "Makefile")):
        sources = ", ".join(sorted(path.name for path in folder.glob("*.c")))
        has = f"only {sources}" if sources else "no sources"
        raise BuildError(
            f"{folder}: no Kbuild and no Makefile, {has}; `kmod-emu new` writes a module with one"
        )
    if " " in str(folder.resolve()) or ":" in str(folder.resolve()):
        raise BuildError(f"{folder.resolve()}: kbuild takes no path with a space or colon")
    for tool in ("make", "gcc"):
        if shutil.which(tool) is None:
            raise BuildError(f"{tool} is not installed")
    done = subprocess.run(
        ["make", "-C", headers, f"M={folder.resolve()}", *arguments, "modules"], check=False
    )
    if done.returncode:
        raise BuildError(f"make ended with status {done.returncode}")
    return sorted(folder.rglob("*.ko"))
