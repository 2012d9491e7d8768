"""The file that holds a saved machine: a checksum and three compressed sections.

It is plain data, since labs pass these files around, and it is written beside its place and renamed, so a
reader sees the old file or the new one. The notes, which come first, are for those who want to know
something about the machine without booting one: they, and this module, are quick to read.
"""

from __future__ import annotations

import json
import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmod_emu import atomic
from kmod_emu.errors import KernelError
from kmod_emu.kernel.plain import to_json
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MAGIC = b"KMODEMU\0"
VERSION = 5
_BEGIN = struct.Struct("<8sII")  # magic, version, CRC-32 of all that follows
_LENGTHS = struct.Struct("<QQ")  # of notes and tables; pages go to the end
_LEVEL = 1  # zlib: the file is written after every command, so speed counts
_LARGEST = 1 << 30  # bytes of a section: more than any machine has, and little enough to unpack


def write(path: str | os.PathLike[str], notes: object, tables: object, pages: bytes) -> None:
    """Write a machine.

    Raises:
        OSError: The file cannot be written; an older one stays as it was.
    """
    texts = [
        json.dumps(part, separators=(",", ":"), sort_keys=True, default=to_json).encode()
        for part in (notes, tables)
    ]
    first, second, third = (zlib.compress(part, _LEVEL) for part in (*texts, pages))
    rest = _LENGTHS.pack(len(first), len(second)) + first + second + third
    atomic.write(path, _BEGIN.pack(MAGIC, VERSION, zlib.crc32(rest)) + rest)


@contextmanager
def understood(path: str | os.PathLike[str]) -> Iterator[None]:
    """While what a file says is believed: whatever goes wrong then is the file's fault.

    Raises:
        KernelError: EINVAL, the file is not as this program writes it.
    """
    try:
        yield
    except KernelError:
        raise
    except Exception as error:  # the tables of a file are anything that JSON can say
        why = f"{path} is damaged, or was saved by another version of kmod-emu ({error}); boot again"
        raise KernelError(errno.EINVAL, why) from error


class StateFile:
    """A file that was written; a section is unpacked when it is asked for.

    Raises:
        OSError: It cannot be read.
        KernelError: EINVAL with the reason: not such a file, damaged, or of another version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with open(path, "rb") as file:
            contents = file.read()
        start = _BEGIN.size + _LENGTHS.size
        if len(contents) < start or not contents.startswith(MAGIC):
            raise KernelError(errno.EINVAL, f"{path} is not a saved machine")
        _, version, checksum = _BEGIN.unpack_from(contents)
        if version != VERSION:
            raise KernelError(
                errno.EINVAL,
                f"{path} was saved in format {version}, this program reads {VERSION}: boot again",
            )
        if zlib.crc32(memoryview(contents)[_BEGIN.size :]) != checksum:
            raise KernelError(errno.EINVAL, f"{path} is damaged: its checksum is wrong")
        notes, tables = _LENGTHS.unpack_from(contents, _BEGIN.size)
        self.path = path
        self._contents = contents
        self._ends = (start, start + notes, start + notes + tables, len(contents))

    @property
    def notes(self) -> dict[str, Any]:
        """What `Kernel.save` noted: "release", "now_ns", and "modules" as rows of lsmod."""
        return self._table(0)

    @property
    def tables(self) -> dict[str, Any]:
        """What all subsystems saved."""
        return self._table(1)

    @property
    def pages(self) -> bytes:
        """Guest memory, as `kernel/state.py` packs it."""
        return self._section(2)

    def _table(self, index: int) -> dict[str, Any]:
        with understood(self.path):
            table = json.loads(self._section(index))
            if isinstance(table, dict):
                return table
            raise TypeError("a table is something else")

    def _section(self, index: int) -> bytes:
        """A checksum is no signature: whoever made the file may have meant harm."""
        with understood(self.path):
            unpacker = zlib.decompressobj()
            section = unpacker.decompress(self._contents[self._ends[index] : self._ends[index + 1]], _LARGEST)
            if not unpacker.eof:
                raise ValueError("a section has another size")
            return section
