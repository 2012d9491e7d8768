"""Whole processes, against the imports that such a program cannot do without."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.timing import Effort, Row, best
from kmod_emu import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = "from kmod_emu.cli.main import main; main()"
IMPORTS = "import unicorn, elftools.elf.elffile, click"
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class Run(NamedTuple):
    """One process: how long, how much of that a processor was busy, and the most memory it had."""

    seconds: float
    cpu: float
    peak_mb: float


def run(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run Python code in a process of its own; ChildProcessError if that fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise ChildProcessError(f"status {process.returncode}: {errors.decode(errors='replace')}")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(time.perf_counter() - start, cpu, usage.ru_maxrss * _RSS_UNIT / 1e6)


def measure(effort: Effort) -> list[Row]:
    """Time as a ratio, and peak memory."""
    peaks = []

    def ours() -> float:
        result = run(RUN, "run", "hello")
        peaks.append(result.peak_mb)
        return result.seconds

    mine, reference = best(effort, ours, lambda: run(IMPORTS).seconds)
    with tempfile.TemporaryDirectory() as folder:
        state = f"--state={folder}/machine"
        run(RUN, state, "insmod", str(samples.path("hello")))
        listing = best(effort, lambda: run(RUN, state, "lsmod").seconds, lambda: run("import click").seconds)
    return [
        Row("lsmod, against importing click", "ms", listing[0] * 1e3, listing[1] * 1e3, 1.5, at_most=True),
        Row("run hello, whole process", "ms", mine * 1e3, reference * 1e3, 1.8, at_most=True),
        Row("run hello, peak memory", "MB", min(peaks), None, 80, at_most=True),
    ]
