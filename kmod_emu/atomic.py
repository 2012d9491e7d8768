"""Writing a file so that others see the old one or the new one, never a part."""

from __future__ import annotations

import os
from contextlib import suppress


def is_temporary(name: str, other: str) -> bool:
    """Whether `other` is what an interrupted `write` of `name` has left in the directory.

    >>> is_temporary("x.kmod", ".x.kmod.k3j_x1a0"), is_temporary("x.kmod", "x.kmod.lock")
    (True, False)
    """
    import re

    return re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}", other) is not None


def write(path: str | os.PathLike[str], contents: bytes) -> None:
    """Write beside the file, then rename over it; into devices, pipes and open files such as /dev/stdout.

    Who may read it is as for any file: the umask says it, or the file that was there.

    Raises:
        OSError: The directory is not there, or full, or may not be written.
    """
    if _is_stream(path):
        with open(path, "ab") as stream:
            stream.write(contents)
        return
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        error.filename = path
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(handle, os.stat(path).st_mode & 0o777)
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path means something that is there to be written to, and not to be replaced."""
    if os.path.islink(path):
        return os.path.realpath(os.path.dirname(path)).startswith(("/dev", "/proc"))
    return os.path.exists(path) and not os.path.isfile(path)
