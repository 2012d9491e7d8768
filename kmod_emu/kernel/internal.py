"""A mistake in Python code that serves a task: the task's end, a report, and nothing worse."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.errors import InternalError

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

KIND = "internal error"  # of the reports
DEBUG = "KMOD_EMU_DEBUG"  # in the environment: tracebacks are shown
_OURS = str(Path(__file__).parents[1])
_COMMANDS = f"{_OURS}/cli/"


def internal_error(kernel: KernelCore, task: Task, error: Exception) -> InternalError:
    """End a task for whom Python code has failed; what whoever waits for it is told."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    task.dead = True
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename.startswith(_OURS)]
    place = f" at {Path(ours[-1]).relative_to(_OURS)}" if ours else ""
    what = f"{type(error).__name__}: {error}{place}"
    death = InternalError(f"internal error: {what}; please report it ({DEBUG}=1 shows more)")
    death.__cause__ = error
    kernel.findings.note(KIND, death.explanation, {})
    return death


def failed(kernel: KernelCore) -> bool:
    """Whether that happened to somebody."""
    return any(report["kind"] == KIND for report in kernel.findings.reports)


def is_outside(error: Exception) -> bool:
    """Whether code was in it that is no part of the machine.

    An export or a model of a device that the user wrote, or a command that prints what happens: nobody
    reads that any more, or the disk is full.
    """
    paths = sysconfig.get_paths()
    libraries = (_OURS, *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    theirs = any(not file.startswith((*libraries, "<frozen")) for file in files)
    return theirs or (isinstance(error, OSError) and any(file.startswith(_COMMANDS) for file in files))
