"""Reading module files from the host."""

from __future__ import annotations

import os
from pathlib import Path

from kmod_emu.uapi import errno

_MIN_SIZE = 7  # libkmod refuses anything shorter: it could hold no magic of a known format


def read_module(path: str) -> bytes:
    """The bytes of a module file.

    Raises:
        OSError: It cannot be read; EINVAL for a file that is too short to be one.
    """
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
