"""Where a user's files of this program are (the XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path

_DEFAULTS = {"DATA": "~/.local/share", "STATE": "~/.local/state", "CACHE": "~/.cache"}


def directory(kind: str) -> Path:
    """The folder for files of a kind: "DATA", "STATE" or "CACHE"; it may not be there yet."""
    base = os.environ.get(f"XDG_{kind}_HOME") or os.path.expanduser(_DEFAULTS[kind])
    return Path(base) / "kmod-emu"
