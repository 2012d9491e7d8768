"""What a real kernel answered: reading it, and text that two machines can be compared by."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WRONG = 2
_PROCESSOR = re.compile(r"<\d>(R[A-Z0-9]{2}|FS|CS|CR2|PKRU|DR[0-7]|Code|PGD| <|</)")
_MACHINE = [  # what differs from machine to machine and from day to day
    (re.compile(r"PID: \d+"), "PID: N"),
    (re.compile(r"Hardware name: .*"), "Hardware name: X"),
    (re.compile(r"\d+ MB/s(ec)?"), "N MB/s"),
    (re.compile(r"\b(0x)?[0-9a-f]{8,16}\b"), "ADDR"),
]


def normalize(text: str) -> str:
    """Text without addresses, pids, speeds and the name of the hardware."""
    for pattern, word in _MACHINE:
        text = pattern.sub(word, text)
    return text


def comparable(lines: Iterable[str]) -> list[str]:
    """Normalized lines without registers and call traces, which hold the kernel's own stack."""
    kept, tracing = [], False
    for line in map(normalize, lines):
        tracing = (tracing or line.endswith(" <TASK>")) and not line.endswith(" </TASK>")
        if not tracing and not _PROCESSOR.match(line):
            kept.append(line)
    return kept


class Difference(NamedTuple):
    """Where a module did something else.

    Attributes:
        module: Its name.
        what: "rc", "dmesg", "/proc/modules", "adds crypto", "rmmod".
        here: What was answered here.
        there: What the recording has.
    """

    module: str
    what: str
    here: Any
    there: Any

    def __str__(self) -> str:
        here, there = self.here, self.there
        if isinstance(here, list) and isinstance(there, list):
            at = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), None)
            at = min(len(here), len(there)) if at is None else at
            here, there = (repr(lines[at]) if at < len(lines) else "no more" for lines in (here, there))
        return f"{self.module}: {self.what}: here {here}, recorded {there}"


def read_recording(path: str, *, autoload: bool = False) -> dict[str, dict[str, Any]]:
    """A recording of modules, by name.

    Args:
        path: Of the file.
        autoload: What was recorded with soft dependencies and a modprobe that works, where that is there.

    Raises:
        ToolError: The file is none.
        OSError: It cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            rows = [row for row in json.load(file) if {"rc", "errno"} <= row.keys()]
            if autoload:
                rows = [{**row["autoload"], "module": row["module"]} for row in rows if "autoload" in row]
            return {row["module"]: row for row in rows}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ToolError(f"kmod-emu: {path}: no recording of modules", _WRONG) from None
