"""kmod-emu coverage: what modules import, and what of it is implemented."""

from __future__ import annotations

import sys
from collections import Counter

import click

from kmod_emu.api import Kernel
from kmod_emu.cli.fresh import find_module
from kmod_emu.kmod.choose import profile_for
from kmod_emu.kmod.coverage import MISSING, OTHER, Import, coverage, imports
from kmod_emu.kmod.errors import ToolError
from kmod_emu.uapi.errno import strerror

_UNREADABLE = 2


@click.command("coverage")
@click.argument("modules", nargs=-1, required=True, metavar="FILE.ko...")
@click.option("--release", help="The kernel release. [default: the one each module was built for]")
@click.option("-a", "--all", "show_all", is_flag=True, help="List exact ones too.")
@click.option("--json", "as_json", is_flag=True, help="Print one object a module and line.")
def command(modules: tuple[str, ...], release: str | None, show_all: bool, as_json: bool) -> None:
    """Say, without running anything, which kernel functions modules import and which are implemented.

    Exit status: 0 nothing is missing, 1 something is, 2 a file could not be read.
    """
    kernels: dict[object, Kernel] = {}
    worst = 0
    for module in modules:
        try:
            path = find_module(module)
            names = imports(path)
            choice = None if release else profile_for(path)
            wanted = choice.profile if choice else release
            if wanted not in kernels:
                kernels[wanted] = Kernel(wanted)
        except (ToolError, OSError, LookupError) as error:
            reason = strerror(error.errno or 0) if isinstance(error, OSError) else error.args[0]
            click.echo(f"kmod-emu: {module}: {reason}", err=True)
            worst = _UNREADABLE
            continue
        found = coverage(kernels[wanted], names)
        worst = max(worst, int(any(item.status == MISSING for item in found)))
        _print_json(module, found) if as_json else _print(module, found, show_all)
    sys.exit(worst)


def _print(module: str, found: list[Import], show_all: bool) -> None:
    counts = Counter(item.status for item in found)
    parts = [f"{count} {status}" for status, count in sorted(counts.items())]
    click.echo(f"{module}: {len(found)} imports: {', '.join(parts) or 'none'}")
    for item in found:
        if show_all or item.status not in ("exact", OTHER):
            click.echo(f"  {item.status:<18} {item.prototype or item.name}")


def _print_json(module: str, found: list[Import]) -> None:
    import json

    click.echo(json.dumps({"module": module, "imports": [item._asdict() for item in found]}))
