"""The process that judges one submission: `python -m kmod_emu.labs.worker`, with a job on standard input.

It limits itself before it looks at anything, and writes what it knows after every test: what it dies of
costs the rest. Its standard input stays open as long as somebody wants the result.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmod_emu import atomic
from kmod_emu.labs.bounds import limit
from kmod_emu.labs.compile import CompileError, compile_module, headers_for
from kmod_emu.labs.lab import read_lab
from kmod_emu.labs.submission import Rejected, take

if TYPE_CHECKING:
    from kmod_emu.labs.lab import Check, Lab

_FILE_BYTES = 256 << 20


def main() -> None:
    """Judge; the row goes to the file that the job names."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, args=(job["scratch"],), daemon=True).start()
    lab = read_lab(Path(job["lab"]))
    _limit(lab)
    Worker(lab, job).judge()


def _end_with_parent(scratch: str) -> None:
    """Wait for the end of standard input: whoever started this is gone, and cleans up nothing."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def _limit(lab: Lab) -> None:
    """What this process and those that it starts may use."""
    bounds = lab.bounds
    processor = int(max(bounds.processor, bounds.build)) + 2
    limit("RLIMIT_CPU", processor, processor + 5)  # SIGXCPU says why, SIGKILL does not
    limit("RLIMIT_AS", bounds.host_memory)
    limit("RLIMIT_FSIZE", _FILE_BYTES)
    limit("RLIMIT_CORE", 0)


class Worker:
    """Judges one submission.

    Args:
        lab: What it is judged by.
        job: `submission`, `scratch` (a directory of its own), `out`.
    """

    def __init__(self, lab: Lab, job: dict[str, Any]) -> None:
        self._lab, self._job = lab, job
        self._scratch = Path(job["scratch"])
        self.row: dict[str, Any] = {"reason": "", "said": [], "tests": []}

    def judge(self) -> None:
        """From what was handed in to marks."""
        try:
            module = self._module()
        except Rejected as error:
            self.row["reason"] = str(error)
        except CompileError as error:
            self.row |= {"reason": error.reason, "said": error.lines}
        else:
            import kmod_emu.labs.check  # noqa: F401

            gc.freeze()
            for check in self._lab.checks:
                self.row["reason"] = f"it ended the grader's process in {check.name!r}"
                self._write()
                self.row["tests"].append(self._test(check, module))
            self.row["reason"] = ""
        self._write()

    def _module(self) -> Path:
        taken, built = self._scratch / "taken", self._scratch / "built"
        taken.mkdir()
        built.mkdir()
        files = take(Path(self._job["submission"]), self._lab, taken)
        if files[0].suffix == ".ko":
            ready = built / f"{self._lab.module}.ko"
            os.replace(files[0], ready)
            return ready
        from kmod_emu.labs.machine import release_of

        headers = headers_for(release_of(self._lab.release, self._lab.kernel))
        return compile_module(self._lab.module, files, built, headers, seconds=self._lab.bounds.build)

    def _test(self, check: Check, module: Path) -> dict[str, Any]:
        from kmod_emu.labs.check import run_check

        began = time.monotonic()
        try:
            problems, dmesg = run_check(check, self._lab, module)
        except MemoryError:
            problems, dmesg = ["the grader's process ran out of memory"], []
        except Exception as error:
            problems, dmesg = [f"{type(error).__name__}: {error}"], []
        most = self._lab.bounds.output
        earned = 0 if problems else check.points
        return {
            "name": check.name,
            "points": earned,
            "of": check.points,
            "seconds": round(time.monotonic() - began, 3),
            "problems": _cut([problem.replace(str(self._scratch), "") for problem in problems], most),
            "dmesg": _cut(dmesg, most) if problems else [],
        }

    def _write(self) -> None:
        atomic.write(self._job["out"], json.dumps(self.row).encode())


def _cut(lines: list[str], most: int) -> list[str]:
    """The first lines, as far as `most` bytes go, fit for any reader."""
    from kmod_emu.text import tame

    kept: list[str] = []
    for line in map(tame, lines):
        if most <= 0:
            return [*kept, "..."]
        kept.append(line[:most])
        most -= len(line)
    return kept


if __name__ == "__main__":
    main()
