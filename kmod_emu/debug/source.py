"""Source files of modules, where they are at hand."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["Sources"]

# The samples are compiled as samples/NAME/NAME.c: in a checkout, and where their sources are installed.
_SAMPLES = (Path(__file__).parents[2], Path(sys.prefix) / "share" / "kmod-emu")


class Sources:
    """Finds and reads source files.

    Args:
        release: Of the kernel whose headers are looked at, where they are installed.
        folders: More to look in, first to last; names are tried whole, then without their folders.

    Attributes:
        folders: All of them.
    """

    def __init__(self, release: str, *folders: Path) -> None:
        self.folders = [*folders, Path.cwd(), *_SAMPLES]
        headers = Path(f"/usr/src/linux-headers-{release}")
        common = headers.with_name(f"{headers.name.rpartition('-')[0]}-common")
        self._headers = [folder for folder in (headers, common) if folder.is_dir()]
        self._known: dict[str, list[str] | None] = {}

    def add(self, folder: Path) -> None:
        """Look in a folder first (gdb's `directory`)."""
        self.folders.insert(0, folder)
        self._known.clear()

    def lines(self, file: str, *compiled_in: str) -> list[str] | None:
        """The lines of a file by the name that debug information gives it; None if it is not found."""
        if file not in self._known:
            path = self.find(file, *compiled_in)
            self._known[file] = _read(path) if path is not None else None
        return self._known[file]

    def find(self, file: str, *compiled_in: str) -> Path | None:
        """Where a file is on this computer."""
        name = Path(file)
        for folder in (*map(Path, compiled_in), *self.folders):
            for candidate in (folder / name, folder / name.name):
                if candidate.is_file():
                    return candidate
        whole = (folder / name for folder in self._headers)
        return next((candidate for candidate in whole if candidate.is_file()), None)


def _read(path: Path) -> list[str] | None:
    try:
        return path.read_text("utf-8", "backslashreplace").split("\n")
    except OSError:
        return None
