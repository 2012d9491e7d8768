"""Rows of a sweep beside what a real kernel answered."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kmod.errors import ToolError
from kmod_emu.sweep.one import UNIMPLEMENTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
        what: "rc", "dmesg", "/proc/modules", "rmmod".
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


def read_recording(path: str) -> dict[str, dict[str, Any]]:
    """A recording of modules, by name.

    Raises:
        ToolError: The file is none.
        OSError: It cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return {row["module"]: row for row in json.load(file) if {"rc", "errno"} <= row.keys()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ToolError(f"kmod-emu: {path}: no recording of modules", _WRONG) from None


class Comparison:
    """How a sweep agrees with a recording.

    Args:
        rows: Of the sweep.
        recording: By the module's name.

    Attributes:
        recorded: How many of the rows the recording has.
        compared: How many of these met no unimplemented export: only they can agree.
        asked: By aspect, how many have it in the recording.
        differences: All that were found.
    """

    def __init__(self, rows: Iterable[dict[str, Any]], recording: dict[str, dict[str, Any]]) -> None:
        pairs = [(row, recording[row["module"]]) for row in rows if row["module"] in recording]
        self.recorded = len(pairs)
        known = [(row, there) for row, there in pairs if row["outcome"] != UNIMPLEMENTED]
        self.compared = len(known)
        self.asked: dict[str, int] = {}
        self.differences: list[Difference] = []
        differing = set()
        for row, there in known:
            for what, here, expected in _aspects(row, there):
                self.asked[what] = self.asked.get(what, 0) + 1
                if here != expected:
                    self.differences.append(Difference(row["module"], what, here, expected))
                    differing.add(row["module"])
        self._agree = self.compared - len(differing)

    def lines(self) -> Iterator[str]:
        """How many agree in what, then the differences."""
        yield (
            f"{self.recorded} modules are in the recording, {self.recorded - self.compared} of them meet an "
            f"unimplemented export; of the other {self.compared}, {self._agree} agree"
        )
        for what, count in self.asked.items():
            differ = sum(difference.what == what for difference in self.differences)
            yield f"{count - differ:6} of {count} in {what}"
        yield from map(str, self.differences)


def _aspects(row: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What is compared: its name, here, there."""
    yield "rc", row["rc"], -there["errno"] if there["rc"] else 0
    yield "dmesg", comparable(row.get("init_dmesg", [])), comparable(there.get("dmesg", []))
    if "proc_modules" in there:
        yield "/proc/modules", row.get("proc_modules"), there["proc_modules"]
    if "unload" in there:
        unload = there["unload"]
        yield "rmmod", row["rmmod_rc"], -unload["errno"] if unload["rc"] else 0
        yield "dmesg of rmmod", comparable(row.get("rmmod_dmesg", [])), comparable(unload.get("dmesg", []))
