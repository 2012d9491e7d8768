"""Marks as tables, JUnit XML, KTAP, Gradescope's results.json and CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Row = dict[str, Any]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each submission, and one for all."""
    names = [one_line(row["name"]) for row in rows]
    width = max(map(len, (*names, "submission")))
    yield f"{'submission':{width}}  points"
    for name, row in zip(names, rows, strict=True):
        marks = f"{row['points']:g}/{row['of']:g}"
        yield f"{name:{width}}  {marks:>6}  {why(row)}".rstrip()
    full = sum(row["points"] == row["of"] for row in rows)
    yield f"{len(rows)} submissions, {full} with full marks"


def one_line(text: str) -> str:
    """Text that may be anything, for a place where only one line may be."""
    return tame(text).replace("\n", " ")


def why(row: Row) -> str:
    """What it lost marks for, in a line."""
    if row["reason"]:
        first = f": {row['said'][0]}" if row["said"] else ""
        return one_line(row["reason"] + first)
    return one_line("; ".join(f"{test['name']}: {test['problems'][0]}" for test in _failed(row)))


def _failed(row: Row) -> list[Row]:
    return [test for test in row["tests"] if test["problems"]]


def _text(test: Row, row: Row) -> str:
    """What is said of a test that failed."""
    lines = [*test["problems"], *(row["said"] if row["reason"] else ())]
    if test["dmesg"]:
        lines += [
            "dmesg:",
            *(f"  {line}" for line in test["dmesg"]),
        ]  # "# Subtest: x" means something in KTAP
    return tame("\n".join(lines))


def junit(rows: Iterable[Row]) -> bytes:
    """JUnit XML: a suite for each submission."""
    top = ElementTree.Element("testsuites")
    for row in rows:
        counts = {"tests": len(row["tests"]), "failures": len(_failed(row)), "errors": 0, "skipped": 0}
        facts = {name: str(value) for name, value in {**counts, "time": row["seconds"]}.items()}
        who = one_line(row["name"])
        suite = ElementTree.SubElement(top, "testsuite", {"name": who, **facts})
        for test in row["tests"]:
            facts = {"name": one_line(test["name"]), "classname": who, "time": str(test["seconds"])}
            case = ElementTree.SubElement(suite, "testcase", facts)
            if test["problems"]:
                message = one_line(test["problems"][0])
                ElementTree.SubElement(case, "failure", message=message).text = _text(test, row)
    text: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def ktap(rows: Sequence[Row]) -> bytes:
    """KTAP: a test for each submission, with its tests as subtests (Documentation/dev-tools/ktap.rst)."""
    lines = ["KTAP version 1", f"1..{len(rows)}"]
    for number, row in enumerate(rows, 1):
        name = _word(row["name"])
        lines += ["  KTAP version 1", f"  # Subtest: {name}", f"  1..{len(row['tests'])}"]
        for at, test in enumerate(row["tests"], 1):
            lines += [f"  # {line}" for line in _text(test, row).splitlines()] if test["problems"] else []
            lines.append(f"  {_ok(test['problems'])} {at} {_word(test['name'])}")
        lines.append(f"{_ok(row['points'] < row['of'])} {number} {name}")
    return ("\n".join(lines) + "\n").encode()


def _ok(problem: object) -> str:
    return "not ok" if problem else "ok"


def _word(name: str) -> str:
    """A name in which KTAP sees no directive."""
    return one_line(name).replace("#", "_")


def gradescope(row: Row) -> bytes:
    """What Gradescope reads as results.json of one submission."""
    tests = [
        {
            "name": test["name"],
            "score": test["points"],
            "max_score": test["of"],
            "status": "failed" if test["problems"] else "passed",
            "output": _text(test, row) if test["problems"] else "",
        }
        for test in row["tests"]
    ]
    output = tame("\n".join([row["reason"], *row["said"]])) if row["reason"] else ""
    result = {"score": row["points"], "output": output, "execution_time": row["seconds"], "tests": tests}
    return json.dumps(result, indent=1).encode() + b"\n"


def as_csv(rows: Sequence[Row]) -> bytes:
    """A line for each submission, a column for each test."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [test["name"] for test in rows[0]["tests"]] if rows else []
    writer.writerow(["submission", "points", "of", *map(_cell, names), "why"])
    for row in rows:
        marks = [test["points"] for test in row["tests"]]
        writer.writerow([_cell(row["name"]), row["points"], row["of"], *marks, _cell(why(row))])
    return file.getvalue().encode()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
