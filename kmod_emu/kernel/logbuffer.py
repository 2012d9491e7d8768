"""The ring buffer behind dmesg (kernel/printk/printk_ringbuffer.c), which needs no machine to be read."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from kmod_emu.text import escape

BUFFER_BYTES = 1 << 17  # CONFIG_LOG_BUF_SHIFT=17
RECORD_OVERHEAD = 64
_NSEC_PER_SEC = 1_000_000_000


class Record(NamedTuple):
    """One message.

    Attributes:
        sequence: Number since boot.
        level: 0 (emergency) to 7 (debug).
        time_ns: When it was stored.
        text: May hold newlines; the bytes are whatever the module printed.
        continued: Whether it was put together from several calls.
    """

    sequence: int
    level: int
    time_ns: int
    text: bytes
    continued: bool = False

    def lines(self) -> list[str]:
        r"""The text's lines, printable: control characters as \\xNN, so that no terminal obeys them."""
        return [escape(line) for line in self.text.split(b"\n")]

    def kmsg(self) -> str:
        r"""The text as /dev/kmsg has it: bytes that are not printable ASCII, and the backslash, as \xNN."""
        return "".join(chr(b) if 32 <= b < 127 and b != 0x5C else f"\\x{b:02x}" for b in self.text)


class LogBuffer:
    """Records, oldest first; the oldest make room for new ones."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self._bytes = 0
        self.sequence = 0  # of the next record
        self._cleared = 0  # dmesg -c shows from here
        self._open_by: int | None = None  # pid whose record has no newline yet

    def _store(self, record: Record) -> None:
        self.sequence += 1
        self.records.append(record)
        self._bytes += len(record.text) + RECORD_OVERHEAD
        while self._bytes > BUFFER_BYTES and len(self.records) > 1:
            self._bytes -= len(self.records.popleft().text) + RECORD_OVERHEAD

    def finished(self) -> list[Record]:
        """All records there are, without one that still lacks its newline.

        As in Linux, `printk("text")` is not seen before the next message finishes it.
        """
        records = list(self.records)
        if records and self._open_by is not None:
            records.pop()
        return records

    def readable(self) -> list[Record]:
        """Records that readers get: those since the last clear that are finished."""
        return [record for record in self.finished() if record.sequence >= self._cleared]

    def lines(self) -> list[str]:
        """Every readable line, without time stamps."""
        return [line for record in self.readable() for line in record.lines()]

    def dmesg(self) -> str:
        """What `dmesg` prints: every line with its time stamp."""
        return "".join(f"{stamp(record)} {line}\n" for record in self.readable() for line in record.lines())

    def clear(self) -> None:
        """`dmesg -C`: later reads start here."""
        self._cleared = self.sequence

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "records": [
                (*record[:3], record.text.decode("latin-1"), record.continued) for record in self.records
            ],
            "sequence": self.sequence,
            "cleared": self._cleared,
            "open_by": self._open_by,
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.records = deque(
            Record(sequence, level, time_ns, text.encode("latin-1"), continued)
            for sequence, level, time_ns, text, continued in state["records"]
        )
        self._bytes = sum(len(record.text) + RECORD_OVERHEAD for record in self.records)
        self.sequence, self._cleared = state["sequence"], state["cleared"]
        self._open_by = state["open_by"]


def stamp(record: Record) -> str:
    """Time since boot as dmesg shows it.

    >>> stamp(Record(0, 6, 2_000_001_500, b""))
    '[    2.000001]'
    """
    return f"[{record.time_ns // _NSEC_PER_SEC:5d}.{record.time_ns % _NSEC_PER_SEC // 1000:06d}]"
