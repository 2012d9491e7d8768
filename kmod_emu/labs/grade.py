"""Judging many submissions: each in a process of its own, in parallel, each result in a file of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu import atomic
from kmod_emu.cluster import NoCluster, spread
from kmod_emu.labs import submission
from kmod_emu.labs.lab import read_lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kmod_emu.labs.lab import Lab

Row = dict[str, Any]
_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "XDG_CACHE_HOME", "XDG_DATA_HOME")  # of a worker
_GLANCE = 0.5  # seconds
_LAST_BYTES = 300
_LONGEST_NAME = 200  # bytes, so that something can be added


def jobs_of(lab: Lab, folder: Path) -> list[dict[str, str]]:
    """A job for each submission of a directory; plain data, for other computers too."""
    mark = lab.digest()
    return [
        {
            "name": name,
            "submission": os.path.abspath(folder / name),
            "digest": _digest(folder / name),
            "lab": str(lab.path),
            "lab_digest": mark,
        }
        for name in submission.names(folder)
    ]


def _digest(path: Path) -> str:
    try:
        return submission.digest(path)
    except OSError as error:
        return str(error)


def judge(job: dict[str, str], stop: threading.Event | None = None) -> Row:
    """Judge one submission in a process of its own; always gives a row.

    Args:
        job: As `jobs_of` makes them.
        stop: Ends it early.
    """
    lab, began = read_lab(Path(job["lab"])), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kmod-emu-grade-", ignore_cleanup_errors=True) as scratch:
        out = Path(scratch, "row.json")
        ended = _run({**job, "scratch": scratch, "out": str(out)}, lab, stop or threading.Event())
        row: Row = {"reason": "", "said": [], "tests": [], "again": True}
        if out.exists():
            row |= json.loads(out.read_bytes()) | {"again": False}
    if ended:
        row["reason"] = f"{row['reason'] or 'it ended the grader'}: {ended}"
    reason = row["reason"] or "not tested"
    missing = lab.checks[len(row["tests"]) :]
    row["tests"] += [
        {"name": check.name, "points": 0, "of": check.points, "seconds": 0, "problems": [reason], "dmesg": []}
        for check in missing
    ]
    points: float = sum(test["points"] for test in row["tests"])
    seconds = round(time.monotonic() - began, 3)
    marks = {"points": points, "of": lab.points, "seconds": seconds}
    return {"name": job["name"], "lab": job["lab_digest"], "digest": job["digest"], **marks, **row}


def _run(job: dict[str, str], lab: Lab, stop: threading.Event) -> str:
    """Run a worker; how it ended, if that was not as it should."""
    environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
    errors = Path(job["scratch"], "errors")
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "kmod_emu.labs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment,
            cwd=job["scratch"],
            start_new_session=True,
        )
    limit = lab.bounds.build + lab.bounds.wall
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        end = time.monotonic() + limit
        while not _ended(process):
            if stop.is_set() or time.monotonic() > end:
                return f"more than {limit:g} s have passed"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if -process.returncode == signal.SIGXCPU:
        return f"more than {lab.bounds.processor:g} s of processor time"
    if process.returncode < 0:
        return f"signal {signal.Signals(-process.returncode).name}"
    return f"status {process.returncode}{_last_line(errors)}" if process.returncode else ""


def _last_line(path: Path) -> str:
    """What a process said last, behind a colon."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends soon."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GLANCE)
    return process.returncode is not None


def file_name(name: str) -> str:
    """What the file with the result of a submission is called."""
    raw = os.fsencode(name)
    return f"{name if len(raw) <= _LONGEST_NAME else hashlib.sha256(raw).hexdigest()}.json"


class Results:
    """Rows in a directory: what did not change, submission and lab, is not judged again.

    What ended its process before there was anything to be tested is: that was hardly the submission.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, job: dict[str, str]) -> Row | None:
        """The row of a job, if it was done."""
        try:
            row = json.loads(self._path(job).read_bytes())
            same = (row["lab"], row["digest"], row["again"]) == (job["lab_digest"], job["digest"], False)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return row if same else None

    def keep(self, job: dict[str, str], row: Row) -> Row:
        """Write a row."""
        atomic.write(self._path(job), json.dumps(row).encode())
        return row

    def _path(self, job: dict[str, str]) -> Path:
        return self._folder / file_name(job["name"])


def in_processes(jobs: Iterable[dict[str, str]], count: int) -> Iterator[tuple[dict[str, str], Row]]:
    """Judge on this computer; jobs with their rows as they are done."""
    stop = threading.Event()
    with ThreadPoolExecutor(count) as pool:
        futures = {pool.submit(judge, job, stop): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


class ClusterError(Exception):
    """What a cluster did not do, in a sentence."""


def on_cluster(jobs: Iterable[dict[str, str]], address: str) -> Iterator[tuple[dict[str, str], Row]]:
    """Judge on a Dask cluster whose workers see the same files under the same names.

    What a worker had that dies is judged by another.

    Raises:
        ClusterError: It is not there, or has not judged all; those that it has judged come first.
    """
    failed = ""
    try:
        for job, row in spread(judge, jobs, address):
            if isinstance(row, Exception):
                failed = f"{job['name']} was not judged: {type(row).__name__}: {row}"
            else:
                yield job, row
    except NoCluster as error:
        raise ClusterError(str(error)) from None
    if failed:
        raise ClusterError(failed)
