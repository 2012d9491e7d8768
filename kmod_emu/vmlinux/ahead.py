"""A kernel that is about to boot for the first time is unpacked while the program is still being imported.

xz is half a second, in which liblzma needs no Python; so is nothing that follows without what it unpacks.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.vmlinux.errors import BadImage

if TYPE_CHECKING:
    from kmod_emu.vmlinux.vmlinux import Vmlinux


class Unpacking:
    """The work of a thread of its own. A kernel that may be in the cache, or that is none, is let be.

    Args:
        kernel: A kernel's file, or its release.
    """

    def __init__(self, kernel: str) -> None:
        self._kernel = kernel
        self._path = ""
        self._done: Vmlinux | None = None
        self._thread = threading.Thread(target=self._work, name="kmod-emu-unpacking", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        from kmod_emu.vmlinux import cache, kernels

        with suppress(OSError, BadImage):  # whoever wants it finds out and says so
            path, _ = kernels.locate(self._kernel)
            if not cache.knows(path):
                from kmod_emu.vmlinux.vmlinux import Vmlinux

                self._done = Vmlinux.from_image(Path(path).read_bytes())
                self._path = os.path.abspath(path)

    def result(self, path: str) -> Vmlinux | None:
        """The kernel in a file, if that is what was unpacked."""
        self._thread.join()
        return self._done if path == self._path else None
