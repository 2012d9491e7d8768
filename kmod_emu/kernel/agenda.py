"""What is to happen at which moment of virtual time: the events that interrupt the processor.

An entry is a kind and plain data, so that an armed timer survives in a saved machine; the subsystem of
that kind says what it means (`Scheduler.on`). Actions of Python are entries too, which are not saved.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

PYTHON = "python"  # the payload is something to call


class Entry(NamedTuple):
    """One event; the ticket breaks ties, first armed first."""

    time_ns: int
    ticket: int
    kind: str
    payload: Any


class Agenda:
    """Events in order of time, then of arming."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._live: dict[int, Entry] = {}
        self._tickets = 0

    def post(self, time_ns: int, kind: str, payload: Any = None) -> int:
        """Arm an event; returns a ticket to cancel it by."""
        self._tickets += 1
        entry = Entry(time_ns, self._tickets, kind, payload)
        self._live[entry.ticket] = entry
        heapq.heappush(self._heap, entry)
        return entry.ticket

    def cancel(self, ticket: int) -> bool:
        """Disarm; False if it has happened already."""
        return self._live.pop(ticket, None) is not None

    def waiting(self, kind: str) -> list[Any]:
        """The payloads of a kind's events."""
        return [entry.payload for entry in self._live.values() if entry.kind == kind]

    def payloads(self) -> list[Any]:
        """Those of all events."""
        return [entry.payload for entry in self._live.values()]

    @property
    def next_ns(self) -> int | None:
        """When the next event is due, None if there is none."""
        while self._heap and self._heap[0].ticket not in self._live:
            heapq.heappop(self._heap)
        return self._heap[0].time_ns if self._heap else None

    def take(self, now_ns: int) -> Entry | None:
        """The first event that is due, taken off; None if none is."""
        due = self.next_ns
        if due is None or due > now_ns:
            return None
        entry = heapq.heappop(self._heap)
        del self._live[entry.ticket]
        return entry

    def save(self) -> Any:
        """State for a snapshot or file."""
        events = [list(entry) for entry in sorted(self._live.values(), key=_order) if entry.kind != PYTHON]
        return {"tickets": self._tickets, "events": events}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tickets = state["tickets"]
        self._heap = [Entry(*event) for event in state["events"]]
        self._live = {entry.ticket: entry for entry in self._heap}


def _order(entry: Entry) -> tuple[int, int]:
    return entry.time_ns, entry.ticket
