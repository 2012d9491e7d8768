"""kmod-emu conform: our loader beside a kernel's own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.base import boot_base, find_kernel, skipped_initcalls
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.main import INTERRUPTED, USAGE_ERROR
from kmod_emu.cli.many import JOBS, JSON, TIME_LIMIT, follow, output, processors
from kmod_emu.kmod.compression import SUFFIXES
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name
from kmod_emu.sweep.tree import Target, read_tree
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST = 10  # differences of one module that are shown


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE.ko|DIR|NAME]...")
@click.option(
    "--kernel", "image", required=True, metavar="VMLINUZ|RELEASE", help="The kernel on which both load."
)
@click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="A directory with modules.dep, which has NAMEs and what they need; without names, all of it.",
)
@click.option(
    "--needs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.ko",
    help="What is loaded before each FILE; may be given several times.",
)
@JOBS
@JSON
@TIME_LIMIT
@reports_errors
def conform(
    files: tuple[str, ...],
    image: str,
    modules: str | None,
    needs: tuple[str, ...],
    jobs: int | None,
    out: str | None,
    time_limit: float,
) -> None:
    """Load each module by our loader and by the kernel's own, on equal machines, and say what differs.

    Compared are the answers of the system calls, dmesg, /proc/modules with use counts before and after,
    exports as later modules find them, where sections lie, and before init runs every byte of the module's
    memory and the permissions of its pages.

    What is in the FILE of --json is not done again.

    Exit status: 0 nothing differs, 1 something does, 2 wrong usage, 3 something died or never returned, 130
    interrupted.
    """
    from kmod_emu.sweep.conform.both import DIFFERS, Pair, conformity
    from kmod_emu.sweep.one import UNREADABLE
    from kmod_emu.sweep.workers import sweep

    targets = _targets(files, modules, needs)
    pair = Pair(os.path.abspath(find_kernel(image)[0]), time_limit, skipped_initcalls())
    boot_base(pair.base)  # says what is wrong with it, and keeps it for the workers
    rows: dict[str, dict[str, Any]] = {}
    with output(out) as (write, kept):
        _check(pair.base, kept.values(), out)
        rows |= {target.path: kept[target.path] for target in targets if target.path in kept}
        todo = [target for target in targets if target.path not in kept]
        lines = follow(sweep(pair, todo, jobs or processors()), len(todo), write, rows)
    for row in rows.values():
        for sentence in _sentences(row):
            click.echo(f"{tame(row['path'])}: {tame(sentence)}", err=out == "-")
    for line in (*lines, *conformity(rows.values())):
        click.echo(tame(line), err=out == "-")
    outcomes = {row["outcome"] for row in rows.values()}
    if len(rows) < len(targets):
        sys.exit(INTERRUPTED)
    sys.exit(3 if outcomes - {"alike", DIFFERS, UNREADABLE} else int(bool(outcomes & {DIFFERS, UNREADABLE})))


def _sentences(row: dict[str, Any]) -> list[str]:
    """What is said of one module."""
    found = row["differences"]
    rest = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return [*([row["reason"]] if row["reason"] else []), *found[:_MOST], *rest]


def _check(base: str, kept: Iterable[dict[str, Any]], out: str | None) -> None:
    """That the rows which are there are such, of this kernel."""
    for row in kept:
        if "differences" not in row or row["kernel"] != base:
            what = f"a comparison on {row['kernel']}" if "differences" in row else "a sweep"
            raise ToolError(f"kmod-emu: {out} holds {what}", USAGE_ERROR)


def _targets(words: Sequence[str], modules: str | None, needs: Sequence[str]) -> list[Target]:
    """What is to be loaded, and what before it.

    Raises:
        ToolError: There is no such thing.
    """
    tree = {target.name: target for target in read_tree(modules)} if modules else {}
    if not words and not modules:
        raise ToolError("kmod-emu: name module files, a directory of them, or --modules DIR", USAGE_ERROR)
    found = [] if words else list(tree.values())
    for word in words:
        known = tree.get(module_name(word))
        if os.path.isdir(word):
            below = _below(word, needs)
            if not below:
                raise ToolError(f"kmod-emu: {word}: there is no module in it", USAGE_ERROR)
            found += below
        elif os.path.isfile(word):
            found.append(Target(word, word, [*needs] or (known.needs if known else [])))
        elif known is not None:
            found.append(known)
        else:
            raise ToolError(f"kmod-emu: {word}: there is no such module", USAGE_ERROR)
    return list({target.path: target for target in found}.values())


def _below(directory: str, needs: Sequence[str]) -> list[Target]:
    """The modules of a directory, by its modules.dep if it has one."""
    if os.path.exists(os.path.join(directory, "modules.dep")):
        return read_tree(directory)
    files = [os.path.join(place, name) for place, _, names in os.walk(directory) for name in names]
    return [Target(file, file, [*needs]) for file in sorted(files) if file.endswith(SUFFIXES)]
