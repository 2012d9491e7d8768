"""Starts of a distribution's kernel: the first, which boots it, and later ones, which map what that kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.timing import Effort, Row
from benchmarks.whole_process import RUN, run

VMLINUZ = Path("/boot") / f"vmlinuz-{os.environ.get('MODULES_RELEASE', '6.1.0-56-amd64')}"
_FIRST = 2  # so often is enough


def measure(effort: Effort) -> list[Row]:
    """Whole processes, where that kernel is there; the first uses two processors at its beginning."""
    if not VMLINUZ.exists():
        return []
    arguments = ("run", "hello", "--kernel", str(VMLINUZ))
    first, later = [], []
    for _ in range(min(effort.rounds, _FIRST)):
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"XDG_CACHE_HOME": cache}
            first.append(run(RUN, *arguments, environment=environment))
            later += [run(RUN, *arguments, environment=environment) for _ in range(effort.rounds)]
    return [
        Row(
            "first start of Debian's kernel", "s", min(each.seconds for each in first), None, 3, at_most=True
        ),
        Row("a later start of it", "s", min(each.seconds for each in later), None, 0.3, at_most=True),
        Row("peak memory of that", "MB", min(each.peak_mb for each in later), None, 200, at_most=True),
    ]
