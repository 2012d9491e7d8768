"""depmod on all modules of a distribution's kernel, beside the C one; both as whole processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import samples

if TYPE_CHECKING:
    from collections.abc import Callable

_RELEASE = os.environ.get("MODULES_RELEASE", "6.1.0-56-amd64")
_INPUTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
_OURS = (sys.executable, "-m", "kmod_emu.cli.main", "depmod")


def measure(effort: Effort) -> list[Row]:
    """Seconds for the kernel's modules; for the samples where that is not there, or little is asked."""
    installed = Path("/lib/modules") / _RELEASE
    modules = installed / "kernel"
    if effort.scale < 1 or not modules.is_dir():
        modules = samples.path("hello").parent
    depmod = shutil.which("depmod", path=f"/usr/sbin:/sbin:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory() as base:
        tree = Path(base) / "lib/modules" / _RELEASE
        tree.mkdir(parents=True)
        (tree / "kernel").symlink_to(modules)
        for name in _INPUTS:
            if (installed / name).exists():
                shutil.copy(installed / name, tree)
        sides = [_run(*_OURS, "-b", base, _RELEASE)]
        if depmod is not None:
            sides.append(_run(depmod, "-b", base, _RELEASE))
        ours, *reference = best(effort, *sides)
    return [Row("depmod of a whole kernel", "s", ours, reference[0] if reference else None, 10, at_most=True)]


def _run(*command: str) -> Callable[[], float]:
    return lambda: seconds(lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))
