"""The file that a kernel profile is kept in: facts to read at once, and columns to unpack when asked for.

A first line with the format, a second with JSON: `facts` and, in order, each column's name, compression and
length. The columns follow, each compressed on its own, because a command that lists modules needs the layouts
and none of the prototypes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Columns", "encode"]

_FORMAT = b"kmod-emu profile 2\n"
_FAMILY = b"kmod-emu profile "
_SMALLER_IF_SLOWER = frozenset({"prototypes"})  # what a report asks for, not every start


def encode(facts: Mapping[str, Any], columns: Mapping[str, bytes]) -> bytes:
    """The contents of a profile file; the same input gives the same bytes."""
    import lzma
    import zlib

    packed, table = [], []
    for name, column in columns.items():
        if name in _SMALLER_IF_SLOWER:
            codec, data = "xz", lzma.compress(column, preset=6)
        else:
            codec, data = "zlib", zlib.compress(column, 9)
        packed.append(data)
        table.append([name, codec, len(data)])
    head = json.dumps({"facts": facts, "columns": table}, sort_keys=True)
    return b"".join([_FORMAT, head.encode("ascii"), b"\n", *packed])


class Columns:
    """A profile file that has been read.

    Attributes:
        facts: What its head says about the release.

    Raises:
        ValueError: It is no such file, or damaged.
    """

    def __init__(self, contents: bytes) -> None:
        if not contents.startswith(_FORMAT):
            if contents.startswith(_FAMILY):
                raise ValueError("a profile that another version of kmod-emu made; build it again")
            raise ValueError("not a profile file")
        end = contents.find(b"\n", len(_FORMAT))
        try:
            head = json.loads(contents[len(_FORMAT) : end])
            self.facts: dict[str, Any] = head["facts"]
            self._places: dict[str, tuple[str, int, int]] = {}
            start = end + 1
            for name, codec, length in head["columns"]:
                self._places[name] = codec, start, start + length
                start += length
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"a damaged profile file: {error}") from None
        if start != len(contents):
            raise ValueError("a damaged profile file: it is cut off")
        self._contents = contents

    def column(self, name: str) -> bytes:
        """The bytes of a column, none if the file has no such column."""
        codec, start, end = self._places.get(name, ("", 0, 0))
        if not codec:
            return b""
        packed = self._contents[start:end]
        if codec == "xz":
            import lzma

            return lzma.decompress(packed)
        import zlib

        return zlib.decompress(packed)

    def text(self, name: str) -> str:
        """The text in a column, "" if the file has no such column."""
        return self.column(name).decode("utf-8")
