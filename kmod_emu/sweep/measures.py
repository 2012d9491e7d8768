"""How a sweep agrees with a recording, each measure apart.

A module that loads proves little, since most do. So what is compared is counted by what the recording
has: return codes of all and of those that the real kernel refuses, the log of those that print, what was
added by those that add, and so on. Modules that the recording's processor could run and this one cannot
are a class of their own. What agrees although a function merely answered in between (`stand_ins` of a row)
may be right by accident, and is counted beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.sweep.compare import Difference, comparable
from kmod_emu.sweep.one import UNIMPLEMENTED
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VECTORS = "kernel/arch/x86/crypto/"  # modules here choose by the processor's vector instructions
_CUT = 299  # characters of a parameter's value that recordings have
ALL = "return code"
REFUSED_THERE = "return code where the real kernel refuses"
PRINTS, SILENT = "log of init where it prints", "log of init where it is silent"
ADDS = "what init adds, all of it"
KIND = "what init adds: "
PARAMETERS = "values of parameters"
LISTED, UNLOAD, LOG_UNLOAD = "line in /proc/modules", "return code of rmmod", "log of rmmod"
LEFT = "what is left after rmmod"


class Aspect(NamedTuple):
    """Something that a row and its recording both have.

    Attributes:
        measure: Under which name it counts.
        what: The word for a difference in it; "" where another aspect tells of it.
        here: What was answered here.
        there: What the recording has.
    """

    measure: str
    what: str
    here: Any
    there: Any

    @property
    def agrees(self) -> bool:
        """Whether it is the same."""
        return bool(self.here == self.there)


def aspects(row: dict[str, Any], there: dict[str, Any]) -> Iterator[Aspect]:
    """Everything that is compared of a module."""
    expected = -there["errno"] if there["rc"] else 0
    yield Aspect(ALL, "rc", row["rc"], expected)
    if expected:
        yield Aspect(REFUSED_THERE, "", row["rc"], expected)
    printed, log = comparable(there.get("dmesg", [])), comparable(row.get("init_dmesg", []))
    yield Aspect(PRINTS if printed else SILENT, "dmesg", log, printed)
    if "proc_modules" in there:
        yield Aspect(LISTED, "/proc/modules", row.get("proc_modules"), there["proc_modules"])
    yield from _added(row, there)
    if values := _values(there):
        read = {name: value[:_CUT] for name, value in (row.get("parameters") or {}).items()}
        yield Aspect(PARAMETERS, "parameters", read, values)
    if "unload" in there:
        unload = there["unload"]
        yield Aspect(UNLOAD, "rmmod", row["rmmod_rc"], -unload["errno"] if unload["rc"] else 0)
        here, recorded = comparable(row.get("rmmod_dmesg", [])), comparable(unload.get("dmesg", []))
        yield Aspect(LOG_UNLOAD, "dmesg of rmmod", here, recorded)
        if row.get("left") is not None and "after_unload" in there:
            yield Aspect(LEFT, "left after rmmod", row["left"], there["after_unload"].get("leftover", {}))


def _added(row: dict[str, Any], there: dict[str, Any]) -> Iterator[Aspect]:
    here = row.get("added")
    if "added" not in there or here is None:
        return
    recorded = there["added"]
    if here or recorded:
        yield Aspect(ADDS, "", here, recorded)
    for kind in sorted({*here, *recorded}):
        yield Aspect(f"{KIND}{kind}", f"adds {kind}", here.get(kind, []), recorded.get(kind, []))


def _values(there: dict[str, Any]) -> dict[str, str]:
    parameters = there.get("sys_module", {}).get("parameters", {})
    return {name: each["value"] for name, each in parameters.items() if int(each["mode"], 8) & 0o444}


def lacks_vectors(row: dict[str, Any], there: dict[str, Any]) -> bool:
    """Whether the recording's processor could run a module that this one cannot."""
    return not there["rc"] and row["rc"] == -errno.ENODEV and str(there.get("path")).startswith(_VECTORS)


class Count:
    """One measure: of how many, how many agree, how many of these with functions that merely answered."""

    def __init__(self) -> None:
        self.asked = self.agree = self.accidents = 0

    def add(self, aspect: Aspect, *, stood_in: bool, failed: bool) -> bool:
        """Count one; whether it agrees."""
        agrees = aspect.agrees and not failed
        self.asked += 1
        self.agree += agrees
        self.accidents += agrees and stood_in
        return agrees

    def __str__(self) -> str:
        share = f"{self.agree:6} of {self.asked:5} {100 * self.agree / self.asked:6.1f} %"
        return f"{share}, {self.accidents} maybe by accident" if self.accidents else share


class Comparison:
    """How a sweep agrees with a recording.

    Args:
        rows: Of the sweep.
        recording: By the module's name.

    Attributes:
        recorded: How many of the rows the recording has, those that lack vector instructions among them.
        vectors: Names of these.
        lacking: How many met an unimplemented export: they agree in nothing.
        counts: By measure.
        differences: All that were found, of those that met none.
        verdicts: By module: "agrees", "by accident", "differs", "vectors" or "unimplemented".
    """

    def __init__(self, rows: Iterable[dict[str, Any]], recording: dict[str, dict[str, Any]]) -> None:
        pairs = [(row, recording[row["module"]]) for row in rows if row["module"] in recording]
        self.recorded, self.lacking = len(pairs), 0
        self.vectors: list[str] = []
        self.counts: dict[str, Count] = {}
        self.differences: list[Difference] = []
        self.verdicts: dict[str, str] = {}
        for row, there in pairs:
            self.verdicts[row["module"]] = self._compare(row, there)

    def _compare(self, row: dict[str, Any], there: dict[str, Any]) -> str:
        name, failed, stood_in = row["module"], row["outcome"] == UNIMPLEMENTED, bool(row.get("stand_ins"))
        if lacks_vectors(row, there):
            self.vectors.append(name)
            return "vectors"
        self.lacking += failed
        same = True
        for aspect in aspects(row, there):
            count = self.counts.setdefault(aspect.measure, Count())
            if not count.add(aspect, stood_in=stood_in, failed=failed):
                same = False
                if aspect.what and not failed:
                    self.differences.append(Difference(name, aspect.what, aspect.here, aspect.there))
        if failed:
            return "unimplemented"
        return ("by accident" if stood_in else "agrees") if same else "differs"

    def lines(self) -> Iterator[str]:
        """How many agree in what, then the differences."""
        verdicts = list(self.verdicts.values())
        compared = self.recorded - self.lacking - len(self.vectors)
        agree = verdicts.count("agrees") + verdicts.count("by accident")
        yield (
            f"{self.recorded} modules are in the recording, {self.lacking} of them meet an "
            f"unimplemented export; of the other {compared}, {agree} agree"
        )
        if accidents := verdicts.count("by accident"):
            yield (
                f"{accidents} of these called functions that merely answered: right by accident, unless that"
                " is the answer"
            )
        if self.vectors:
            yield (
                f"{len(self.vectors)} more want a processor with vector instructions that this one lacks: "
                + ", ".join(self.vectors)
            )
        for measure in sorted(self.counts, key=_order):
            yield f"{self.counts[measure]}  {measure}"
        yield from map(str, self.differences)


_ORDER = (ALL, REFUSED_THERE, PRINTS, SILENT, LISTED, PARAMETERS, ADDS, UNLOAD, LOG_UNLOAD, LEFT)


def _order(measure: str) -> tuple[int, str]:
    known = ADDS if measure.startswith(KIND) else measure
    return _ORDER.index(known), measure if measure != ADDS else ""
