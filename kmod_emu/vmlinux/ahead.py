"""A kernel that is about to boot for the first time is unpacked while the program is still being imported.

xz is half a second, in which liblzma needs no Python. The symbols lie before the middle of it: they are read
while the rest is unpacked.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.vmlinux.errors import BadImage

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kallsyms import Kallsyms
    from kmod_emu.vmlinux.vmlinux import Vmlinux

_REACH = 4 << 20  # bytes of all names of a kernel, at most


class Unpacking:
    """The work of a thread of its own. A kernel that may be in the cache, or that is none, is let be.

    Args:
        kernel: A kernel's file, or its release.
    """

    def __init__(self, kernel: str) -> None:
        self._kernel = kernel
        self._path = ""
        self._pieces: list[bytes] = []
        self._over = False
        self._done: Vmlinux | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="kmod-emu-unpacking", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        from kmod_emu.vmlinux import cache, kernels

        with suppress(Exception):  # whoever wants it meets the same and says so
            path, _ = kernels.locate(self._kernel)
            if not cache.knows(path):
                from kmod_emu.vmlinux.vmlinux import Vmlinux

                self._path = os.path.abspath(path)
                self._done = Vmlinux.from_image(Path(path).read_bytes(), self._unpacked)
        with self._news:
            self._over = True
            self._news.notify()

    def _unpacked(self, piece: bytes) -> None:
        with self._news:
            self._pieces.append(piece)
            self._news.notify()

    def _symbols(self) -> Kallsyms | None:
        """Those of the kernel, if they are found before all of it is unpacked."""
        from kmod_emu.vmlinux import kallsyms
        from kmod_emu.vmlinux.vmlinux import segment_address

        for number in count():
            with self._news:
                while not self._over and len(self._pieces) == number:
                    self._news.wait()
                if self._over:
                    return None
            if kallsyms.DIGITS in self._pieces[number]:
                before, near = (
                    self._pieces[: max(number - 1, 0)],
                    self._pieces[max(number - 1, 0) : number + 1],
                )
                with suppress(BadImage):
                    address = segment_address(self._pieces[0]) + sum(map(len, before))
                    if found := kallsyms.search(b"".join(near), address, _REACH):
                        found.table  # noqa: B018 - which takes as long as finding them
                        return found
        return None

    def result(self, path: str) -> tuple[Vmlinux | None, Kallsyms | None]:
        """The kernel in a file, if that is what was unpacked, and perhaps its symbols; once."""
        symbols = self._symbols()
        self._thread.join()
        self._pieces.clear()
        kernel, self._done = self._done, None
        return (kernel, symbols) if path == self._path else (None, None)
