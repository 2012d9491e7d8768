"""Reading module files from the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from kmod_emu.kmod.compression import SUFFIXES, decompress
from kmod_emu.uapi import errno

_MIN_SIZE = 6  # libkmod reads this much for the magic of compressed files, and refuses what has less
_MAX_SIZE = (1 << 31) - 1  # finit_module(2) refuses anything longer


class ModuleFile(NamedTuple):
    """A module file.

    Attributes:
        image: The ELF file, decompressed.
        compressed: Whether the file was.
        path: Of the file.
    """

    image: bytes
    compressed: bool
    path: str


def read_module(path: str) -> ModuleFile:
    """Read a module file.

    Raises:
        OSError: It cannot be read; EINVAL for a file that is too short to be one, for damaged compressed
            data, and for a pipe or device, which could be endless; EFBIG beyond 2 GiB.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL))
    if status.st_size > _MAX_SIZE:
        raise OSError(errno.EFBIG, errno.strerror(errno.EFBIG))
    data = Path(path).read_bytes()
    if len(data) < _MIN_SIZE:
        raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL))
    image = decompress(path, data, _MAX_SIZE)
    return ModuleFile(image, image is not data, path)


def is_module_file(path: str) -> bool:
    """Whether an argument means a file and not a name: it is there, and called as module files are."""
    return path.endswith(SUFFIXES) and os.path.isfile(path)


def module_name(path: str) -> str:
    """The module that a path means; a name means itself.

    >>> module_name("./snd-pcm.ko"), module_name("hello")
    ('snd_pcm', 'hello')
    """
    return os.path.basename(path).partition(".")[0].replace("-", "_")
