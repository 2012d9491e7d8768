"""depmod.d: which of several modules of one name counts (kmod 30, tools/depmod.c)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kmod_emu.kmod.config_files import config_files
from kmod_emu.kmod.lines import logical_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_PATHS = ("/etc/depmod.d", "/run/depmod.d", "/usr/local/lib/depmod.d", "/lib/depmod.d")
BUILT_IN, EXTERNAL = "built-in", "external"


@dataclass
class Config:
    """What the files say; each list begins with what came last, as kmod looks at them."""

    release: str
    searches: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)  # paths without their endings
    externals: list[str] = field(default_factory=list)
    excludes: list[str] = field(default_factory=list)

    def add(self, words: list[str]) -> bool:
        """Take one line's words; False for a line that makes no sense."""
        match words:
            case ["search", *places]:
                self.searches[:0] = reversed(places)
            case ["exclude", *names]:
                self.excludes += names
            case ["override", module, release, place, *_]:
                if self._is_for(release):
                    self.overrides.insert(0, f"{place}/{module}")
            case ["external", release, place, *_]:
                if self._is_for(release):
                    self.externals.insert(0, place)
            case ["include" | "make_map_files", *_]:
                pass
            case _:
                return False
        return True

    def _is_for(self, release: str) -> bool:
        """A `*`, or a regular expression found somewhere in the release."""
        if release == "*":
            return True
        try:
            return re.search(release, self.release) is not None
        except re.error:
            return False


def read_config(release: str, paths: Sequence[str], error: Callable[[str], object]) -> Config:
    """Read the files, or the .conf files in directories; of one name, the first counts.

    Args:
        release: Which kernel it is for.
        paths: Files and directories.
        error: Takes a message about what is passed over.
    """
    config, files = Config(release), _files(paths, error)
    for name in sorted(files, key=os.fsencode):
        path = files[name]
        try:
            with open(path, "rb") as stream:
                text = stream.read()
        except OSError as failure:
            error(f"file parse {path}: {failure.strerror}")
            continue
        for number, line in logical_lines(text):
            words = [word for word in re.split("[\t ]+", line) if word]
            if words and not line.startswith("#") and not config.add(words):
                error(f"{path}:{number}: ignoring bad line starting with '{words[0]}'")
    if not config.searches:
        config.searches = ["updates"]
    return config


def _files(paths: Sequence[str], error: Callable[[str], object]) -> dict[str, str]:
    def unreadable(path: str, failure: OSError) -> None:
        error(f"files list {path}: {failure.strerror}")

    return config_files(paths, (".conf",), unreadable, error)
