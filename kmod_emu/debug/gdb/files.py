"""gdb's file packets (`vFile:`): it reads the files that symbols are in from here, and no others."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ENOENT, _EBADF, _EROFS, _ENOSYS = 2, 9, 30, 9999  # the protocol's numbers: the last is "another"
_WRITING = 0o3 | 0x200 | 0x400  # O_WRONLY, O_RDWR, and the protocol's O_CREAT and O_TRUNC
_STAT = struct.Struct(">IIIIIIIQQQIII")
_REGULAR_FILE = 0o100444


class FileServer:
    """Open files of one client.

    Args:
        files: Gives the files there are, by path.
    """

    def __init__(self, files: Callable[[], dict[str, bytes]]) -> None:
        self._files = files
        self._open: dict[int, bytes] = {}
        self._next = 3

    def answer(self, request: bytes) -> bytes:
        """Answer `operation:arguments`."""
        operation, _, rest = request.partition(b":")
        words = rest.split(b",")
        if operation == b"setfs":
            return b"F0"
        if operation == b"open":
            return self._open_file(words)
        if operation == b"close":
            return b"F0" if self._open.pop(int(words[0], 16), None) is not None else _error(_EBADF)
        if operation == b"pread":
            return self._pread(words)
        if operation == b"fstat":
            contents = self._open.get(int(words[0], 16))
            if contents is None:
                return _error(_EBADF)
            size = len(contents)
            stat = _STAT.pack(0, 0, _REGULAR_FILE, 1, 0, 0, 0, size, 512, (size + 511) // 512, 0, 0, 0)
            return b"F%x;" % len(stat) + stat
        if operation in (b"pwrite", b"unlink"):
            return _error(_EROFS)
        return _error(_ENOSYS) if operation == b"readlink" else b""

    def _open_file(self, words: list[bytes]) -> bytes:
        path = bytes.fromhex(words[0].decode("ascii")).decode("utf-8", "replace")
        if int(words[1], 16) & _WRITING:
            return _error(_EROFS)
        contents = self._files().get(path)
        if contents is None:
            return _error(_ENOENT)
        number, self._next = self._next, self._next + 1
        self._open[number] = contents
        return b"F%x" % number

    def _pread(self, words: list[bytes]) -> bytes:
        number, count, offset = (int(word, 16) for word in words)
        contents = self._open.get(number)
        if contents is None:
            return _error(_EBADF)
        piece = contents[offset : offset + min(count, 0x3000)]
        return b"F%x;" % len(piece) + piece


def _error(number: int) -> bytes:
    return b"F-1,%x" % number
