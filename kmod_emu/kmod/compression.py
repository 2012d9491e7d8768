"""Compressed module files: xz and zstd, known by their first bytes (libkmod/libkmod-file.c), and gzip.

Debian's kmod is built without gzip and takes such a file for a broken module. Here its name decides: gzip's
".gz" says that it is meant to be decompressed.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, cast

from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")
_CHUNK = 1 << 20


def _gzip(data: bytes) -> IO[bytes]:
    import gzip

    return cast("IO[bytes]", gzip.open(io.BytesIO(data)))


def _xz(data: bytes) -> IO[bytes]:
    import lzma

    return lzma.open(io.BytesIO(data))


def _zstd(data: bytes) -> IO[bytes]:
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)


_GZIP = b"\x1f\x8b"
_FORMATS: dict[bytes, Callable[[bytes], IO[bytes]]] = {
    _GZIP: _gzip,
    b"\xfd7zXZ\0": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def decompress(path: str, data: bytes, limit: int) -> bytes:
    """The file's contents; `data` itself if it is not compressed.

    Args:
        path: The file's name.
        data: The whole file.
        limit: Bytes that are too many.

    Raises:
        OSError: EINVAL for damaged data, EFBIG for more than `limit`.
    """
    for magic, opener in _FORMATS.items():
        if data.startswith(magic) and (magic != _GZIP or path.endswith(".gz")):
            return _read(opener(data), limit)
    return data


def _read(stream: IO[bytes], limit: int) -> bytes:
    parts, size = [], 0
    try:
        while chunk := stream.read(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
    except Exception as error:  # each library has its own, and none promises that there are no others
        raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL)) from error
    if size > limit:
        raise OSError(errno.EFBIG, errno.strerror(errno.EFBIG))
    return b"".join(parts)
