"""A sweep on a Dask cluster: its workers run `kmod-emu sweep` over a few modules at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.cluster import spread
from kmod_emu.sweep.one import DIED, blank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.sweep.one import Setup
    from kmod_emu.sweep.tree import Target

TOGETHER = 32  # modules a job: starting a process costs as much as about ten of them


class Part(NamedTuple):
    """A job.

    Attributes:
        modules: The module directory, there as here.
        targets: What to try.
        release: As in `Setup`.
        time_limit: Likewise.
        base: Likewise; the file is there as here.
        loader: Likewise.
        autoload: Whether modules that are asked for are loaded.
    """

    modules: str
    targets: tuple[Target, ...]
    release: str | None
    time_limit: float
    base: str
    loader: str
    autoload: bool


def sweep_part(part: Part) -> list[dict[str, Any]]:
    """Runs on a worker: the rows, one a module; what the process left out is told as died."""
    words = ["sweep", "--modules", part.modules, "--jobs", "1", "--json", "-"]
    words += ["--kernel", part.base, "--loader", part.loader, *(["--autoload"] if part.autoload else [])]
    words += ["--release", part.release] if part.release else []
    words += ["--time-limit", str(part.time_limit), "--", *(target.path for target in part.targets)]
    done = subprocess.run(
        [sys.executable, "-m", "kmod_emu.cli.main", *words], capture_output=True, text=True, check=False
    )
    wanted = {target.path for target in part.targets}
    every = (json.loads(line) for line in done.stdout.splitlines() if line.endswith("}"))
    rows = [row for row in every if row["path"] in wanted]
    found = {row["path"] for row in rows}
    last = (done.stderr.splitlines() or [f"status {done.returncode}"])[-1]
    return rows + [
        _lost(target, f"a worker of the cluster: {last}")
        for target in part.targets
        if target.path not in found
    ]


def _lost(target: Target, reason: str) -> dict[str, Any]:
    return blank(target) | {"outcome": DIED, "reason": reason}


def sweep_on_cluster(
    setup: Setup, targets: list[Target], modules: str, address: str
) -> Iterator[dict[str, Any]]:
    """Rows as they are done, wherever that is.

    Raises:
        NoCluster: There is none.
    """
    settings = setup.release, setup.time_limit, setup.base, setup.loader, bool(setup.modules)
    parts = [
        Part(modules, tuple(targets[at : at + TOGETHER]), *settings)
        for at in range(0, len(targets), TOGETHER)
    ]
    for part, rows in spread(sweep_part, parts, address):
        if isinstance(rows, Exception):
            reason = f"the cluster gave it up: {type(rows).__name__}: {rows}"
            rows = [_lost(target, reason) for target in part.targets]
        yield from rows
