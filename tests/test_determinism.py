"""Same inputs, same bytes: every sample twice, in two processes that have as little in common as possible."""

import os
import subprocess
import sys
from pathlib import Path

from kmod_emu import samples

ROOT = Path(__file__).parent.parent
# Where all instructions are traced, these two take seconds: the limit of time ends them somewhere.
NAMES = [name for name in samples.names() if name not in ("churn", "spinwait")]
ONE = "PYTHONHASHSEED=0 TZ=UTC LC_ALL=C.UTF-8 COLUMNS=80 LINES=24 TERM=xterm"
OTHER = "PYTHONHASHSEED=77 TZ=Asia/Kolkata LC_ALL=C COLUMNS=33 TERM=dumb NO_COLOR=1 PYTHONOPTIMIZE=1 HOME="


def start(mood: str, folder: Path) -> subprocess.Popen:
    environ = {**os.environ, **dict(pair.split("=") for pair in mood.split())}
    command = [sys.executable, ROOT / "scripts" / "trace_digests.py", *NAMES]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environ)


def test_every_sample_leaves_the_same_trace_and_report_in_another_mood(tmp_path):
    running = [start(ONE, ROOT), start(f"{OTHER}{tmp_path}", tmp_path)]
    one, other = (process.communicate()[0].splitlines() for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert [line.split()[0] for line in one] == NAMES
    assert one == other
