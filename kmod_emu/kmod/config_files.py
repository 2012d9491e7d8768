"""Which files make up a configuration: those given, and those in the directories given (libkmod, depmod)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SHORTEST = 6  # bytes of a name: one letter and ".conf"


def config_files(
    paths: Sequence[str],
    suffixes: tuple[str, ...],
    unreadable: Callable[[str, OSError], object],
    nested: Callable[[str], object],
) -> dict[str, str]:
    """Paths by name; the first directory that has a name wins.

    Args:
        paths: Files and directories.
        suffixes: How names in a directory must end.
        unreadable: Told of a directory that cannot be listed.
        nested: Told, with kmod's sentence, of a directory where a file should be.
    """
    files: dict[str, str] = {}
    for path in paths:
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                files.setdefault(os.path.basename(path), path)
                continue
            names = os.listdir(path)
        except OSError as failure:
            if os.path.exists(path):
                unreadable(path, failure)
            continue
        for name in names:
            if name.startswith(".") or len(name) < _SHORTEST or not name.endswith(suffixes):
                continue
            if os.path.isdir(f"{path}/{name}"):
                nested(f"Directories inside directories are not supported: {path}/{name}")
                continue
            files.setdefault(name, f"{path}/{name}")
    return files
