"""The strings of `.modinfo` as libkmod finds them (kmod 30, libkmod/libkmod-elf.c).

libkmod forgives more than the kernel: any machine, 32 or 64 bits, either byte order, and a section header
that makes no sense is passed over. So modinfo describes many a file that insmod refuses.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Collection
    from mmap import mmap

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
    found = find_sections(blob, (b".modinfo",)).get(b".modinfo")
    if found is None:
        raise _error(errno.ENOENT)
    offset, size = found
    return [text for text in blob[offset : offset + size].split(b"\0") if text]


def layout(blob: bytes | mmap) -> tuple[str, bool]:
    """Byte order, as `struct` writes it, and whether the file is of the 64-bit class.

    Raises:
        OSError: ENOEXEC for what is no ELF file, EINVAL for one of an unknown class or byte order.
    """
    if len(blob) <= _EI_NIDENT or blob[:4] != b"\x7fELF":
        raise _error(errno.ENOEXEC)
    order = _BYTE_ORDER.get(blob[5])
    if order is None or blob[4] not in _LAYOUT:
        raise _error(errno.EINVAL)
    return order, blob[4] == 2


def section_table(blob: bytes | mmap) -> list[tuple[int, ...]]:
    """The section headers, each as name, type, flags, address, offset, size.

    Raises:
        OSError: ENOEXEC for what is no ELF file, EINVAL for one that is damaged.
    """
    order, _ = layout(blob)
    file_header, section_header = (struct.Struct(order + fields) for fields in _LAYOUT[blob[4]])
    if len(blob) <= _EI_NIDENT + file_header.size:
        raise _error(errno.EINVAL)
    fields = file_header.unpack_from(blob, _EI_NIDENT)
    start, (entry_size, count, names_index) = fields[5], fields[-3:]
    end = start + entry_size * count
    if entry_size != section_header.size or end > len(blob) or not 0 < names_index < count:
        raise _error(errno.EINVAL)
    headers = list(section_header.iter_unpack(blob[start:end]))
    headers[0] = headers[names_index]  # the first is unused; here it is the names'
    return headers


def find_sections(
    blob: bytes | mmap, wanted: Collection[bytes], headers: list[tuple[int, ...]] | None = None
) -> dict[bytes, tuple[int, int]]:
    """Offset and size of the sections of these names that lie in the file; of several, the first.

    Raises:
        OSError: As `section_table` does; EINVAL without section names.
    """
    headers = headers or section_table(blob)
    names = _contents(blob, headers[0])
    if not names or not names.endswith(b"\0"):
        raise _error(errno.EINVAL)
    found: dict[bytes, tuple[int, int]] = {}
    for header in headers[1:]:
        name_at, offset, size = header[0], header[4], header[5]
        if name_at < len(names) and offset + size <= len(blob):
            name = names[name_at : names.index(b"\0", name_at)]
            if name in wanted and name not in found:
                found[name] = offset, size
    return found


def _contents(blob: bytes | mmap, header: tuple[int, ...]) -> bytes | None:
    offset, size = header[4], header[5]
    return blob[offset : offset + size] if offset + size <= len(blob) else None


def _error(number: int) -> OSError:
    return OSError(number, errno.strerror(number))
