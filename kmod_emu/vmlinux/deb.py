"""Debian packages: an ar(5) archive whose member data.tar.* holds the files (deb(5))."""

from __future__ import annotations

import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kmod_emu.vmlinux.errors import BadImage

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"!<arch>\n"
_HEADER = 60  # of a member: name 16, date 12, uid 6, gid 6, mode 8, size 10, end 2
_END = b"`\n"


def files(package: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The regular files of a package: where they go, relative to /, and their contents.

    Raises:
        BadImage: It is no Debian package, or cut off.
    """
    data = next((body for name, body in _members(package) if name.startswith("data.tar")), None)
    if data is None:
        raise BadImage("a Debian package without files in it (data.tar)")
    try:
        with tarfile.open(fileobj=_plain(data), mode="r|*") as archive:
            for member in archive:
                path = PurePosixPath("/", member.name).relative_to("/")
                if not member.isfile() or ".." in path.parts:
                    continue
                contents = archive.extractfile(member)
                assert contents is not None
                yield path, contents.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadImage(f"a Debian package whose files cannot be read: {error}") from None


def _members(package: bytes) -> Iterator[tuple[str, bytes]]:
    place = len(MAGIC)
    while place + _HEADER <= len(package):
        header = package[place : place + _HEADER]
        size = header[48:58].strip()
        if header[58:] != _END or not size.isdigit():
            raise BadImage("a Debian package that is damaged")
        start = place + _HEADER
        yield header[:16].decode("latin-1").strip(" /"), package[start : start + int(size)]
        place = start + int(size) + int(size) % 2


def _plain(data: bytes) -> io.BufferedIOBase:
    """What tarfile can read: it knows gzip, xz and bzip2, but not zstd."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(data))
    return io.BytesIO(data)
