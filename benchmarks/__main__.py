"""`python -m benchmarks [--quick] [NAME...]`: measure and print a table."""

from __future__ import annotations

from importlib import import_module

import click

from benchmarks.timing import FULL, QUICK, table

NAMES = (
    "whole_process", "guest_loops", "leaf_traps", "insmod", "linking", "depmod", "device", "programs",
    "debugger", "sanitizers", "starts", "sweeping", "qemu",
)  # fmt: skip


@click.command()
@click.option("--quick", is_flag=True, help="Once, with little work: does it run?")
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...], quick: bool) -> None:
    """Measure speed and memory; the aims are shown, and never an error."""
    rows = []
    for name in names or NAMES:
        rows += import_module(f"benchmarks.{name}").measure(QUICK if quick else FULL)
    click.echo(table(rows))


if __name__ == "__main__":
    main()
