"""Print a digest of what each sample does, to compare hosts, Pythons and moods by `diff`.

python scripts/trace_digests.py [SAMPLE...]
"""

from __future__ import annotations

import hashlib
import sys

from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main

COMMANDS = {
    "trace": ("trace", "--json", "-e", "all", "--for", "0.2", "--time-limit", "1"),
    "run": ("run", "--json", "--sanitize", "all", "--for", "0.2", "--time-limit", "1"),
}


def digest(name: str) -> str:
    """One line for a sample: its name, then an exit status and a digest for each command."""
    words = [name]
    for command, line in COMMANDS.items():
        result = CliRunner().invoke(main, [*line, name])
        words.append(f"{command}={result.exit_code}:{hashlib.sha256(result.output_bytes).hexdigest()[:16]}")
    return " ".join(words)


def write_digests(names: list[str]) -> None:
    """All of them, or these."""
    for name in names or samples.names():
        sys.stdout.write(digest(name) + "\n")


if __name__ == "__main__":
    write_digests(sys.argv[1:])
