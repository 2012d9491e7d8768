"""A trace for programs: one JSON object a line, or Chrome's trace format, which Perfetto reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.observe.trace.tracer import Record


class JsonSink:
    """One object a line; docs/trace.md has the fields.

    Args:
        write: Takes one line without newline.
        limit: How many objects at most; the last one then says how many are missing.
    """

    def __init__(self, write: Callable[[str], None], limit: int) -> None:
        self._write, self._left, self.dropped = write, limit, 0

    def enter(self, record: Record) -> None:
        """`"event": "enter"`."""
        self._put({"event": "enter", **_common(record), "call": record.text, "source": record.source})

    def leave(self, record: Record) -> None:
        """`"event": "leave"`."""
        end = {"result": record.result, "instructions": record.instructions}
        self._put({"event": "leave", **_common(record), **end})

    def point(self, record: Record) -> None:
        """`"event": "point"`."""
        self._put({"event": "point", **_common(record), "text": record.text})

    def close(self) -> None:
        """Say what was left out."""
        if self.dropped:
            self._write(json.dumps({"event": "dropped", "count": self.dropped}))

    def _put(self, fields: dict[str, Any]) -> None:
        if self._left:
            self._left -= 1
            self._write(json.dumps(fields))
        else:
            self.dropped += 1


class ChromeSink:
    """The JSON array format of Chrome's trace viewer; a microsecond there is one instruction of a module.

    Virtual time hardly passes while guest code runs, so it is an argument of each event instead. The file is
    well-formed also where the limit cut it.

    Args:
        write: Takes text.
        limit: How many events at most.
    """

    def __init__(self, write: Callable[[str], None], limit: int) -> None:
        self._write, self._left, self.dropped = write, limit, 0
        self._named: set[int] = set()
        self._open: dict[int, list[bool]] = {}  # by pid: whether the beginnings of open calls were written
        write('{"traceEvents": [\n')
        self._separator = ""

    def enter(self, record: Record) -> None:
        """A slice begins."""
        arguments = {"call": record.text, "source": record.source, "time_ns": record.time_ns}
        written = self._put(record, "B", {"args": arguments})
        self._open.setdefault(record.pid, []).append(written)

    def leave(self, record: Record) -> None:
        """It ends, also behind the limit."""
        stack = self._open.get(record.pid)
        if stack and stack.pop():
            self._put(record, "E", {"args": {"result": record.result}}, always=True)

    def point(self, record: Record) -> None:
        """A mark."""
        self._put(record, "i", {"s": "t", "args": {"text": record.text, "time_ns": record.time_ns}})

    def close(self) -> None:
        """End the file."""
        self._write(f'\n], "otherData": {{"dropped": {self.dropped}}}}}\n')

    def _put(self, record: Record, phase: str, more: dict[str, Any], *, always: bool = False) -> bool:
        if not self._left and not always:
            self.dropped += 1
            return False
        self._left = max(self._left - 1, 0)
        place = {"pid": 1, "tid": record.pid}
        if record.pid not in self._named:
            self._named.add(record.pid)
            self._emit({"name": "thread_name", "ph": "M", **place, "args": {"name": record.comm}})
        self._emit(
            {"name": record.name, "cat": record.kind, "ph": phase, "ts": record.clock, **place, **more}
        )
        return True

    def _emit(self, event: dict[str, Any]) -> None:
        self._write(self._separator + json.dumps(event))
        self._separator = ",\n"


def _common(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "name": record.name,
        "pid": record.pid,
        "comm": record.comm,
        "time_ns": record.time_ns,
        "clock": record.clock,
    }
