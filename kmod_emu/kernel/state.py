"""Saving a machine to one file and loading it again.

Booting is deterministic, so the file holds what differs from a machine just booted: the tables of all
subsystems as JSON and the guest pages written since, compressed, with a checksum over everything. Plain data,
since labs pass these files around. It is written beside its place and renamed, so a reader sees the old file
or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import registered
from kmod_emu.kernel.image import load_image
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

MAGIC = b"KMODEMU\0"
VERSION = 2
_HEADER = struct.Struct("<8sI32sQ")  # magic, version, SHA-256 of the rest, length of the tables
_PAGE = struct.Struct("<BI")  # arena's number, page number
_LEVEL = 1  # zlib: the file is written after every command, so speed counts


def fingerprint() -> str:
    """What a saved machine's addresses depend on: the guest image and the set of exports Python serves."""
    digest = hashlib.sha256(load_image().traps)
    for segment in load_image().segments:
        digest.update(segment.data)
    digest.update("\n".join(sorted(registered())).encode())
    return digest.hexdigest()[:16]


def save(kernel: KernelCore, path: str | os.PathLike[str], release: str) -> None:
    """Write the machine to `path`.

    Raises:
        OSError: The file cannot be written; an older one stays as it was.
    """
    tables = {"release": release, "fingerprint": fingerprint(), "subsystems": kernel.save_tables()}
    text = json.dumps(tables, separators=(",", ":"), sort_keys=True).encode()
    body = zlib.compress(text, _LEVEL)
    rest = body + zlib.compress(_pages(kernel), _LEVEL)
    header = _HEADER.pack(MAGIC, VERSION, hashlib.sha256(rest).digest(), len(body))
    _replace(Path(path), header + rest)


def _pages(kernel: KernelCore) -> bytes:
    """Every arena's permissions, then every page written since boot."""
    arenas = kernel.memory.arenas
    parts = [bytes(arena.perms) for arena in arenas]
    for number, index in sorted(kernel.snapshots.written_since_root()):
        parts += (_PAGE.pack(number, index), arenas[number].page(index))
    return b"".join(parts)


def _replace(path: Path, contents: bytes) -> None:
    """Write beside the file, then rename over it."""
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class Saved:
    """A parsed file; `apply` puts it into a freshly booted kernel of the same release.

    Raises:
        KernelError: EINVAL with the reason: not such a file, damaged, or of another version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        contents = Path(path).read_bytes()
        if len(contents) < _HEADER.size or not contents.startswith(MAGIC):
            raise KernelError(errno.EINVAL, f"{path} is not a saved machine")
        _, version, digest, length = _HEADER.unpack_from(contents)
        if version != VERSION:
            raise KernelError(
                errno.EINVAL, f"{path} was saved in format {version}, this program reads {VERSION}"
            )
        rest = contents[_HEADER.size :]
        if hashlib.sha256(rest).digest() != digest:
            raise KernelError(errno.EINVAL, f"{path} is damaged: its checksum is wrong")
        tables: dict[str, Any] = json.loads(zlib.decompress(rest[:length]))
        if tables["fingerprint"] != fingerprint():
            raise KernelError(errno.EINVAL, f"{path} was saved by another version of kmod-emu; boot again")
        self.release: str = tables["release"]
        self._subsystems = tables["subsystems"]
        self._pages = zlib.decompress(rest[length:])

    def apply(self, kernel: KernelCore) -> None:
        """Make the kernel what was saved."""
        memory, offset = kernel.memory, 0
        for arena in memory.arenas:
            size = len(arena.perms)
            arena.perms[:] = self._pages[offset : offset + size]
            offset += size
        while offset < len(self._pages):
            number, index = _PAGE.unpack_from(self._pages, offset)
            offset += _PAGE.size
            memory.put_page(memory.arenas[number], index, self._pages[offset : offset + PAGE_SIZE])
            offset += PAGE_SIZE
        kernel.cpu.flush_tlb()
        kernel.load_tables(self._subsystems)
