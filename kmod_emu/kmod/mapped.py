"""Module files mapped into memory: of thousands, depmod reads a few pages each."""

from __future__ import annotations

import os
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

from kmod_emu.kmod.files import read_module

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def mapped_module(path: bytes) -> Iterator[bytes | mmap]:
    """The contents of a module file, unpacked if they are compressed.

    Raises:
        OSError: As `read_module` does.
    """
    with open(path, "rb", buffering=0) as stream:
        if stream.read(4) == b"\x7fELF":
            with mmap(stream.fileno(), 0, access=ACCESS_READ) as blob:
                yield blob
            return
    yield read_module(os.fsdecode(path)).image
