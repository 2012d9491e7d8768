"""Load everything that was recorded by our loader and by a kernel's own, and say what differs.

    python -m scripts.conform_recordings [FOLDER]

The folder is one of recordings; by default that of the tests.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from pathlib import Path

OWN = Path(__file__).parents[1] / "tests/recordings"
BUILD = Path("build/conform")


def main(recordings: Path) -> int:
    """Compare; the exit status of `kmod-emu conform`."""
    images = sorted(glob.glob("/boot/vmlinuz-6.1.0-*-amd64"), key=os.path.getmtime)
    if not images:
        sys.stderr.write("no kernel of Debian's is installed (linux-image-amd64)\n")
        return 2
    modules = json.loads((recordings / "modules-6.1.json").read_text())
    names = [row["module"] for row in modules if "rc" in row]
    cases = recordings / "errno-cases"
    folder = f"/lib/modules/{images[-1].partition('-')[2]}"
    words = ["conform", "--kernel", images[-1], "--modules", folder, str(cases), str(_mutations(recordings))]
    return subprocess.run([sys.executable, "-m", "kmod_emu.cli.main", *words, *names], check=False).returncode


def _mutations(recordings: Path) -> Path:
    """A folder with the file of each recorded mutation."""
    BUILD.mkdir(parents=True, exist_ok=True)
    image = (recordings / "errno-cases/h_hello.ko").read_bytes()
    for case in json.loads((recordings / "mutations-6.1.json").read_text()):
        place, _, code = case["patch"].partition(":")
        start, new = int(place), bytes.fromhex(code)
        file = BUILD / f"{case['case'].replace('/', '_')}.ko"
        file.write_bytes(image[:start] + new + image[start + len(new) :])
    return BUILD


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else OWN))
