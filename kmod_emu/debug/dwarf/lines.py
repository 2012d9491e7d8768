"""Source lines and addresses, both ways, from DWARF line programs."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LineIndex", "LineRange", "LineRow", "file_names", "rows_of"]


class LineRow(NamedTuple):
    """From an address on, code is of this line; line 0 ends a run of code."""

    address: int
    file: str
    line: int
    is_statement: bool


class LineRange(NamedTuple):
    """The code around an address that is of one line; `is_statement`: a good place to stop begins there."""

    file: str
    line: int
    start: int
    end: int
    is_statement: bool


def rows_of(dwarf: Any, unit: Any) -> Iterator[LineRow]:
    """The rows of a unit's line program."""
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return
    names = file_names(program)
    base = 0 if program["version"] >= 5 else 1
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        index = state.file - base
        name = names[index] if 0 <= index < len(names) else "?"
        line = 0 if state.end_sequence else state.line
        yield LineRow(state.address, name, line, bool(state.is_stmt))


def file_names(program: Any) -> list[str]:
    """The files of a line program, with their folders."""
    if program is None:
        return []
    base = 0 if program["version"] >= 5 else 1
    folders = program["include_directory"]
    names = []
    for known in program["file_entry"]:
        name = known.name.decode("utf-8", "replace")
        where = known.dir_index - base
        if 0 <= where < len(folders) and known.dir_index and not name.startswith("/"):
            name = f"{folders[where].decode('utf-8', 'replace')}/{name}"
        names.append(name)
    return names


class LineIndex:
    """All rows of a module, in order of their addresses."""

    def __init__(self, rows: Iterable[LineRow]) -> None:
        # Where a run ends and the next begins, the end comes first.
        self.rows = sorted(rows, key=lambda row: (row.address, row.line != 0))
        self._starts = [row.address for row in self.rows]

    @cached_property
    def files(self) -> list[str]:
        """All files with code, as the compiler was given them."""
        return list(dict.fromkeys(row.file for row in self.rows if row.line))

    def at(self, address: int) -> LineRange | None:
        """The line of an address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or not self.rows[index].line:
            return None
        last = index + 1
        while index and not self.rows[index].is_statement and self._same_place(index - 1, index):
            index -= 1
        row = self.rows[index if self.rows[index].is_statement else last - 1]
        end = self.rows[last].address if last < len(self.rows) else row.address + 1
        return LineRange(row.file, row.line, row.address, end, row.is_statement)

    def _same_place(self, one: int, other: int) -> bool:
        return self.rows[one].address == self.rows[other].address and bool(self.rows[one].line)

    def named(self, name: str) -> list[str]:
        """The files that a name means: its last parts are enough."""
        return [file for file in self.files if file == name or file.endswith(f"/{name.lstrip('./')}")]

    def places(self, file: str, line: int) -> tuple[int, list[int]]:
        """Where the code of a line begins: the line with code that is meant, and addresses in order.

        A line without code means the next one that has some; without any, the answer is (0, []).
        """
        rows = [row for row in self.rows if row.file == file and row.line >= line and row.is_statement]
        if not rows:
            return 0, []
        best = min(row.line for row in rows)
        return best, sorted({row.address for row in rows if row.line == best})
