"""`python -m fuzz [--seconds N] [TARGET...]`: run targets one after another, and count.

Each target runs in a process of its own (`worker.py`), under atheris, which is guided by the branches taken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click

from fuzz.targets import NAMES


@click.command()
@click.option("--seconds", default=60, show_default=True, help="How long each target runs.")
@click.option(
    "--corpus", default="build/fuzz", show_default=True, type=click.Path(path_type=Path),
    help="Where interesting inputs are kept from one run to the next, and what was found.",
)  # fmt: skip
@click.argument("targets", nargs=-1, type=click.Choice(NAMES))
def main(seconds: int, corpus: Path, targets: tuple[str, ...]) -> None:
    """Fuzz; the exit status is 1 if something was found."""
    total = bugs = 0
    for name in targets or NAMES:
        folder = corpus / name
        (folder / "corpus").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "fuzz.worker", name, str(folder), str(seconds)]
        with open(folder / "log", "w") as log:
            status = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        done = json.loads((folder / "done.json").read_text())
        total, bugs = total + done["runs"], bugs + len(done["bugs"])
        click.echo(
            f"{name:12} {done['runs']:10,} runs, {len(done['bugs'])} bugs"
            + (f", died: {status}" if status else "")
        )
        for where, why in done["bugs"].items():
            click.echo(f"    {where}: {why}")
    click.echo(f"{'together':12} {total:10,} runs, {bugs} bugs")
    sys.exit(bool(bugs))


if __name__ == "__main__":
    main()
