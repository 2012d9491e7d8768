"""One target under atheris: `python -m fuzz.worker TARGET FOLDER SECONDS`.

A bug does not end the run: its input is kept in FOLDER/bugs, one for each place that raised.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from pathlib import Path
from time import monotonic

import atheris

_EVERY = 2.0  # seconds between two writes of the count
_SLOW = 5.0  # seconds that no input may take


def main() -> None:
    """Set up, and go."""
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with atheris.instrument_imports(include=["kmod_emu"]):
        from fuzz.targets import mistake_in, regressions, target

        tried = target(name)
        run, expected = tried.start(), tried.EXPECTED
    corpus, bugs = folder / "corpus", folder / "bugs"
    bugs.mkdir(exist_ok=True)
    for seed in [*tried.seeds(), *regressions(name)]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    done = Done(folder / "done.json")

    def one(data: bytes) -> None:
        start = monotonic()
        try:
            run(data)
        except Exception as error:
            mistake = mistake_in(error, expected)
            where = mistake and done.found(mistake)
            if where:
                (bugs / where).write_bytes(data)
        if monotonic() - start > _SLOW and (where := done.found(TimeoutError("slow"))):
            (bugs / where).write_bytes(data)
        done.ran()

    limits = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=3000", "-max_len=20000"]
    atheris.Setup([sys.argv[0], str(corpus), *limits, f"-artifact_prefix={bugs}/"], one)
    atheris.Fuzz()


class Done:
    """What has been done, kept in a file, because atheris ends the process in its own way."""

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, monotonic()
        self.runs, self.bugs = 0, dict[str, str]()
        self._write()

    def ran(self) -> None:
        """One more."""
        self.runs += 1
        if monotonic() - self._written > _EVERY:
            self._write()

    def found(self, error: Exception) -> str:
        """Where it was raised, if nothing has been found there yet; else nothing."""
        frames = traceback.extract_tb(error.__traceback__)
        frame = next(
            (f for f in reversed(frames) if "kmod_emu" in f.filename), frames[-1] if frames else None
        )
        place = f"{Path(frame.filename).stem}:{frame.lineno}" if frame else "run"
        where = f"{type(error).__name__}-{place}"
        if where in self.bugs:
            return ""
        self.bugs[where] = str(error)[:200]
        self._write()
        return where

    def _write(self) -> None:
        self._written = monotonic()
        self._path.write_text(json.dumps({"runs": self.runs, "bugs": self.bugs}))


if __name__ == "__main__":
    main()
