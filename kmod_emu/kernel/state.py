"""Saving a machine to one file and loading it again.

Booting is deterministic, so the file holds what differs from a machine just booted: the tables of all
subsystems as JSON, and the guest pages written since. `statefile.py` is the file itself.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel import statefile
from kmod_emu.kernel.exports import registered
from kmod_emu.kernel.image import load_image
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    import os

    from kmod_emu.kernel.kernel import KernelCore

_PAGE = struct.Struct("<BI")  # arena's number, page number
_PERMS = bytes(range((READ | WRITE | EXEC) + 1))


def fingerprint() -> str:
    """What the stub base kernel's addresses depend on: its image and the set of exports Python serves."""
    import hashlib

    digest = hashlib.sha256(load_image().traps)
    for segment in load_image().segments:
        digest.update(segment.data)
    digest.update("\n".join(sorted(registered())).encode())
    return digest.hexdigest()[:16]


def save(kernel: KernelCore, path: str | os.PathLike[str], release: str, notes: object) -> None:
    """Write the machine to `path`; `notes` can be read again without loading it.

    Raises:
        OSError: The file cannot be written; an older one stays as it was.
    """
    tables = {"release": release, "fingerprint": kernel.fingerprint(), "subsystems": kernel.save_tables()}
    statefile.write(path, notes, tables, _pages(kernel))


def _pages(kernel: KernelCore) -> bytes:
    """Every arena's permissions, then every page written since boot that somebody has."""
    arenas, ram = kernel.memory.arenas, kernel.memory.arena_of(kernel.direct_address(0))
    parts = [bytes(arena.perms) for arena in arenas]
    for number, index in sorted(kernel.snapshots.written_since_root()):
        arena = arenas[number]
        if arena.perms[index] and not (arena is ram and kernel.pages.is_free(index)):
            parts += (_PAGE.pack(number, index), arena.page(index))
    return b"".join(parts)


class Saved:
    """A parsed file; `apply` puts it into a freshly booted kernel of the same release.

    Raises:
        KernelError: EINVAL with the reason: not such a file, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = statefile.StateFile(path)
        tables = file.tables
        self.path = path
        self.notes = file.notes
        with statefile.understood(path):
            self.release: str = tables["release"]
            self._fingerprint = tables["fingerprint"]
            self._subsystems = tables["subsystems"]
        self._pages = file.pages

    def apply(self, kernel: KernelCore) -> None:
        """Make the kernel what was saved; whatever else is raised then, the file is not understood.

        Raises:
            KernelError: EINVAL, such a machine has other addresses now.
        """
        if self._fingerprint != kernel.fingerprint():
            why = f"{self.path} was saved by another version of kmod-emu; boot again"
            raise KernelError(errno.EINVAL, why)
        memory, offset = kernel.memory, 0
        for arena in memory.arenas:
            size = len(arena.perms)
            perms = self._pages[offset : offset + size]
            if len(perms) != size or perms.translate(None, _PERMS):
                raise ValueError(f"permissions of {arena.name}")
            arena.perms[:] = perms
            offset += size
        while offset < len(self._pages):
            number, index = _PAGE.unpack_from(self._pages, offset)
            offset += _PAGE.size
            page = self._pages[offset : offset + PAGE_SIZE]
            if len(page) != PAGE_SIZE or index >= len(memory.arenas[number].perms):
                raise ValueError(f"page {index} of {number}")
            memory.put_page(memory.arenas[number], index, page)
            offset += PAGE_SIZE
        kernel.cpu.flush_tlb()
        kernel.load_tables(self._subsystems)
