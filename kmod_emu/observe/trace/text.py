"""A trace as text: calls as strace prints them, nested ones in braces as in the kernel's function graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.observe.trace.tracer import Record

_INDENT = 2
_SOURCE_COLUMN = 90
_NEVER = "?"  # what strace prints for a call that does not return


class TextSink:
    """Prints each call on one line, or, if something happened in it, its beginning and its end.

    Args:
        write: Takes one line without newline.
        limit: How many lines at most.
        emphasize: Marks a call's name, on a terminal with colour.
    """

    def __init__(
        self, write: Callable[[str], None], limit: int, emphasize: Callable[[str], str] = str
    ) -> None:
        self._write, self._emphasize = write, emphasize
        self._left, self.dropped = limit, 0
        self._open: dict[int, list[Record]] = {}  # calls by pid
        self._held: Record | None = None  # a call of which only the beginning is known, not printed yet
        self._notes: list[str] = []  # what was printed to the log in it
        self._pid: int | None = None

    def enter(self, record: Record) -> None:
        """Hold it: it may be one line."""
        self._release()
        self._switch(record)
        self._held = record
        self._open.setdefault(record.pid, []).append(record)

    def leave(self, record: Record) -> None:
        """Print it, or its closing brace."""
        stack = self._open.get(record.pid)
        if not stack:
            return
        begun = stack.pop()
        if self._held is begun:
            self._held = None
            self._print(len(stack), _call(begun) + _result(record.result), begun)
            for note in self._notes:
                self._print(len(stack) + 1, note)
            self._notes = []
            return
        self._release()
        self._switch(record)
        count = record.instructions
        comment = f"    /* {count} instruction{'' if count == 1 else 's'} */" if count else ""
        self._print(len(stack), "}" + _result(record.result) + comment)

    def point(self, record: Record) -> None:
        """Print a line, behind the call that it is part of if nothing else is in that."""
        form = "| {}" if record.kind == "printk" else "/* {} */"
        text = [form.format(line) for line in record.text.split("\n")]
        if self._held is not None and self._held.pid == record.pid and record.kind == "printk":
            self._notes += text
            return
        self._release()
        self._switch(record)
        for line in text:
            self._print(len(self._open.get(record.pid, ())), line)

    def close(self) -> None:
        """Say what was left out."""
        self._release()
        if self.dropped:
            self._write(f"... and {self.dropped} more lines (--limit)")

    def _release(self) -> None:
        """The call that is held is more than one line."""
        held, self._held = self._held, None
        if held is not None:
            self._print(len(self._open[held.pid]) - 1, _call(held) + " {", held)
            for note in self._notes:
                self._print(len(self._open[held.pid]), note)
            self._notes = []

    def _switch(self, record: Record) -> None:
        """Say which task it is, when another one goes on."""
        if record.pid != self._pid:
            self._pid = record.pid
            self._put(f"--- {_harmless(record.comm)} ({record.pid}) ---")

    def _print(self, depth: int, text: str, begun: Record | None = None) -> None:
        line = " " * (_INDENT * depth) + _harmless(text)
        if begun is not None and begun.source:
            line = f"{line:{_SOURCE_COLUMN}}  <{_harmless(begun.source)}>"
        if begun is not None:
            line = line.replace(begun.name, self._emphasize(begun.name), 1)
        self._put(line)

    def _put(self, line: str) -> None:
        if self._left:
            self._left -= 1
            self._write(line)
        else:
            self.dropped += 1


def _harmless(text: str) -> str:
    return escape(text.encode("utf-8", "surrogateescape"))


def _call(record: Record) -> str:
    return record.text if "(" in record.text else record.text + "()"


def _result(result: str | None) -> str:
    return f" = {_NEVER}" if result is None else f" = {result}" if result else ""
