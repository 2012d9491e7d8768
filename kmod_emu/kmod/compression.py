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
_SMALL, _RATIO = 64 << 20, 100  # what may always be unpacked, and how often a file's size beyond that
_XZ_MEMORY = 256 << 20


def _gzip(data: bytes) -> IO[bytes]:
    import gzip

    return cast("IO[bytes]", gzip.open(io.BytesIO(data)))


def _xz(data: bytes) -> IO[bytes]:
    return cast("IO[bytes]", _Xz(data))


class _Xz:
    """Streams behind each other; lzma.open() would give the first as much memory as it says it needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next()

    def _next(self) -> None:
        import lzma

        self._stream = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        while True:
            if self._stream.eof:
                if not self._stream.unused_data.startswith(_XZ):
                    return b""
                self._data = self._stream.unused_data
                self._next()
            data, self._data = self._data, b""
            if part := self._stream.decompress(data, size):
                return part
            if not self._stream.eof and not data:
                raise EOFError


def _zstd(data: bytes) -> IO[bytes]:
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)


_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_FORMATS: dict[bytes, Callable[[bytes], IO[bytes]]] = {
    _GZIP: _gzip,
    _XZ: _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
}


def decompress(path: str, data: bytes, limit: int) -> bytes:
    """The file's contents; `data` itself if it is not compressed.

    Args:
        path: The file's name.
        data: The whole file.
        limit: Bytes that are too many.

    Raises:
        OSError: EINVAL for damaged data, EFBIG for more than `limit` or than any module is packed.
    """
    for magic, opener in _FORMATS.items():
        if data.startswith(magic) and (magic != _GZIP or path.endswith(".gz")):
            return _read(opener(data), min(limit, max(_SMALL, _RATIO * len(data))))
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
