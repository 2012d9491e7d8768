"""Writing a file so that others see the old one or the new one, never a part."""

from __future__ import annotations

import os


def write(path: str | os.PathLike[str], contents: bytes) -> None:
    """Write beside the file, then rename over it.

    Raises:
        OSError: The directory is not there, or full, or may not be written.
    """
    import tempfile

    folder, name = os.path.split(os.fspath(path))
    handle, temporary = tempfile.mkstemp(dir=folder or ".", prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
