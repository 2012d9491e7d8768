"""The strings of `.modinfo` as libkmod finds them (kmod 30, libkmod/libkmod-elf.c).

libkmod forgives more than the kernel: any machine, 32 or 64 bits, either byte order, and a section header
that makes no sense is passed over. So modinfo describes many a file that insmod refuses.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

_EI_NIDENT = 16
_BYTE_ORDER = {1: "<", 2: ">"}  # by EI_DATA
_LAYOUT = {  # by EI_CLASS: the file header behind e_ident, and a section header up to sh_size
    1: ("HHIIIIIHHHHHH", "IIIIII16x"),
    2: ("HHIQQQIHHHHHH", "IIQQQQ24x"),
}


def modinfo_strings(blob: bytes) -> list[bytes]:
    """All strings of `.modinfo`, in file order, without the NULs between them.

    Args:
        blob: The whole file.

    Raises:
        OSError: ENOEXEC for what is no ELF file, EINVAL for one that is damaged, ENOENT without the section.

    >>> modinfo_strings(b"no module at all")
    Traceback (most recent call last):
    OSError: [Errno 8] Exec format error
    """
    for name, data in _sections(blob):
        if name == b".modinfo":
            return [text for text in data.split(b"\0") if text]
    raise _error(errno.ENOENT)


def _sections(blob: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and contents of each section that lies in the file."""
    if len(blob) < _EI_NIDENT or not blob.startswith(b"\x7fELF"):
        raise _error(errno.ENOEXEC)
    order, layout = _BYTE_ORDER.get(blob[5]), _LAYOUT.get(blob[4])
    if order is None or layout is None:
        raise _error(errno.EINVAL)
    file_header, section_header = (struct.Struct(order + fields) for fields in layout)
    if len(blob) < _EI_NIDENT + file_header.size:
        raise _error(errno.EINVAL)
    fields = file_header.unpack_from(blob, _EI_NIDENT)
    start, (entry_size, count, names_index) = fields[5], fields[-3:]
    end = start + entry_size * count
    if entry_size != section_header.size or end > len(blob):
        raise _error(errno.EINVAL)
    headers = list(section_header.iter_unpack(blob[start:end]))
    names = _contents(blob, headers[names_index]) if 0 < names_index < count else None
    if not names or not names.endswith(b"\0"):
        raise _error(errno.EINVAL)
    for header in headers[1:]:
        data = _contents(blob, header)
        if data is not None and header[0] < len(names):
            yield names[header[0] : names.index(b"\0", header[0])], data


def _contents(blob: bytes, header: tuple[int, ...]) -> bytes | None:
    offset, size = header[4], header[5]
    return blob[offset : offset + size] if offset + size <= len(blob) else None


def _error(number: int) -> OSError:
    return OSError(number, errno.strerror(number))
