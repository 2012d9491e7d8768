"""Where a user's files of this program are (the XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path

_ABANDONED = 3600  # seconds
_DEFAULTS = {"DATA": "~/.local/share", "STATE": "~/.local/state", "CACHE": "~/.cache"}


def directory(kind: str) -> Path:
    """The folder for files of a kind: "DATA", "STATE" or "CACHE"; it may not be there yet."""
    base = os.environ.get(f"XDG_{kind}_HOME") or os.path.expanduser(_DEFAULTS[kind])
    return Path(base) / "kmod-emu"


def remove_leftovers(folder: Path) -> None:
    """Remove hidden folders of an hour ago, which programs that ended in the middle have left."""
    import shutil
    import time

    for left in folder.glob(".*/"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
