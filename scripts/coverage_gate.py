"""Say how much of each room's branches the tests took, and fail below the aim.

    python -m scripts.coverage_gate coverage.json module abi machine

The report is what `coverage json` writes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

AIM = 90  # per cent of the branches


def main(report: Path, rooms: list[str]) -> int:
    """Print a line a room; the exit status."""
    files = json.loads(report.read_text())["files"]
    status = 0
    for room in rooms:
        total: Counter[str] = Counter()
        for path, file in files.items():
            if f"kmod_emu/{room}/" in path:
                total.update({key: value for key, value in file["summary"].items() if isinstance(value, int)})
        lines = 100 * total["covered_lines"] / total["num_statements"]
        branches = 100 * total["covered_branches"] / total["num_branches"]
        sys.stdout.write(f"{room + '/':10} {lines:5.1f} % of the lines, {branches:5.1f} % of the branches\n")
        if branches < AIM:
            sys.stdout.write(f"           less than {AIM} %: coverage html shows where\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
