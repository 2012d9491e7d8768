"""Reading module files from the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kmod_emu.uapi import errno

_MIN_SIZE = 6  # libkmod reads this much for the magic of compressed files, and refuses what has less
_MAX_SIZE = (1 << 31) - 1  # finit_module(2) refuses anything longer


def read_module(path: str) -> bytes:
    """The bytes of a module file.

    Raises:
        OSError: It cannot be read; EINVAL for a file that is too short to be one, and for a pipe or device,
            which could be endless; EFBIG beyond 2 GiB.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL))
    if status.st_size > _MAX_SIZE:
        raise OSError(errno.EFBIG, errno.strerror(errno.EFBIG))
    data = Path(path).read_bytes()
    if len(data) < _MIN_SIZE:
        raise OSError(errno.EINVAL, errno.strerror(errno.EINVAL))
    return data


def module_name(argument: str) -> str:
    """The module that a name or a path means.

    >>> module_name("./snd-pcm.ko"), module_name("hello")
    ('snd_pcm', 'hello')
    """
    base = os.path.basename(argument)
    if "/" in argument or ".ko" in base:
        base = base.partition(".")[0]
    return base.replace("-", "_")
