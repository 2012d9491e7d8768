"""kmod-emu drgn: drgn, the scriptable debugger, on a machine's memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.main import USAGE_ERROR

if TYPE_CHECKING:
    from kmod_emu.api import Kernel

_MISSING = (
    "drgn is not installed: `pip install 'kmod-emu[drgn]'` (or `pip install drgn`) gets it; it runs on Linux"
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--insmod",
    "modules",
    multiple=True,
    metavar="'FILE [NAME=VALUE...]'",
    help="Take a fresh machine and load this; else the kept machine is looked at.",
)
@click.option(
    "-s",
    "--symbols",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.ko",
    help="A module's file, for its debug information.",
)
@click.option("-e", "--exec", "code", metavar="CODE", help="Run this Python text instead of a prompt.")
@click.argument("script", required=False, type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@reports_errors
def drgn(
    state: str | None,
    modules: tuple[str, ...],
    symbols: tuple[str, ...],
    code: str | None,
    script: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Open drgn on the machine's memory, with the debug information of its modules: a prompt, or SCRIPT.

    `prog` is the machine; drgn's helpers walk its modules and tasks:
    `for m in for_each_module(prog): print(m.name)`.
    """
    try:
        import drgn.cli as prompt
    except ImportError:
        click.echo(f"kmod-emu: {_MISSING}", err=True)
        sys.exit(USAGE_ERROR)
    from kmod_emu.debug.drgn_program import open_program

    kernel = _fresh(modules) if modules else _kept(state)
    program = open_program(kernel, _files(kernel, symbols))
    if code is None and script is None:
        prompt.run_interactive(program, banner_func=lambda banner: f"{_greeting(kernel)}\n{banner}")
        return
    names: dict[str, Any] = prompt.default_globals(program)
    names |= {"__name__": "__main__", "kernel": kernel}
    if code is not None:
        sys.argv = ["-e", *filter(None, [script, *arguments])]
        exec(compile(code, "<command line>", "exec"), names)
        return
    assert script is not None
    sys.argv = [script, *arguments]
    names["__file__"] = script
    exec(compile(Path(script).read_bytes(), script, "exec"), names)


def _fresh(modules: tuple[str, ...]) -> Kernel:
    from kmod_emu.cli.fresh import Setup, find_module
    from kmod_emu.errors import KernelError
    from kmod_emu.kmod import insmod

    first = modules[0].partition(" ")[0]
    kernel = Setup().boot(first).kernel
    for words in modules:
        file, _, params = words.partition(" ")
        path = find_module(file)
        try:
            kernel.insmod(path, params)
        except KernelError as error:
            raise insmod.refused(kernel, path, error) from None
    return kernel


def _kept(state: str | None) -> Kernel:
    from kmod_emu.cli.machine import machine

    with machine(state, change=False) as kernel:
        return kernel


def _files(kernel: Kernel, given: tuple[str, ...]) -> dict[str, bytes]:
    """Files of modules by name: a kept machine has none. Samples are known by their build id."""
    from kmod_emu import samples

    files = {Path(path).stem.replace("-", "_"): Path(path).read_bytes() for path in given}
    for module in kernel.modules:
        if not module.file and module.name not in files and module.name in samples.names():
            image = samples.path(module.name).read_bytes()
            notes = [
                kernel.memory.read(start, size) for name, start, size in module.notes if "build-id" in name
            ]
            if notes and all(note in image for note in notes):
                files[module.name] = image
    return files


def _greeting(kernel: Kernel) -> str:
    names = " ".join(module.name for module in kernel.modules) or "none"
    return f"kmod-emu machine {kernel.profile.release}; modules: {names}"
