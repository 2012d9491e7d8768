"""The file that a sweep writes: one JSON object a line."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from types import TracebackType

_BEGIN = b'{"module":'
_WRONG = 2


class RowFile:
    """Rows in a file. Rows that are there are kept; a last line that an interruption has cut is taken off.

    Args:
        path: Of the file.

    Attributes:
        kept: The rows that were there, by the module's path.

    Raises:
        ToolError: The file is something else, or another sweep writes to it.
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.kept: dict[str, dict[str, Any]] = {}
        try:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError(f"kmod-emu: {self._path}: another sweep writes to it") from None
        row, end, whole = None, 0, True
        with open(self._path, "rb") as lines:
            for line in lines:
                row, whole = _row(line), line.endswith(b"\n")
                if row is not None:
                    self.kept[row["path"]] = row
                    end += len(line)
                elif whole or not _cut(line):
                    raise ToolError(f"kmod-emu: {self._path}: not what a sweep has written; it stays", _WRONG)
        if not whole:
            self._file.truncate(end)
            self._file.write(b"\n" if row is not None else b"")

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        rest = memoryview(f"{json.dumps(row)}\n".encode())
        while rest:
            rest = rest[self._file.write(rest) :]

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _row(line: bytes) -> dict[str, Any] | None:
    """A line's row, without its longest part; None if it is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or "outcome" not in row:
        return None
    row.pop("steps", None)
    return row


def _cut(line: bytes) -> bool:
    """Whether these are the first bytes of a row."""
    return line.startswith(_BEGIN) or _BEGIN.startswith(line)
