"""What Tab offers: options, modules, samples, and files of the kept machine."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from kmod_emu import samples
from kmod_emu.cli.machine import classic_path, machine, state_path
from kmod_emu.cli.main import is_classic, main
from kmod_emu.errors import KernelError
from kmod_emu.kernel.statefile import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kmod.getopt import Command


SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what SHELL needs to complete words of kmod-emu.

    For one session: eval "$(kmod-emu completion bash)". To keep it, write it for bash to
    ~/.local/share/bash-completion/completions/kmod-emu, for zsh to a file _kmod-emu in a directory of
    $fpath, for fish to ~/.config/fish/completions/kmod-emu.fish.
    """
    click.echo(script(shell))


def script(shell: str) -> str:
    """What that shell needs."""
    kind = get_completion_class(shell)
    assert kind is not None
    complete = kind(main, {}, "kmod-emu", "_KMOD_EMU_COMPLETE")
    return kind.source_template % complete.source_vars()


def of_tool(ctx: click.Context, module: str, incomplete: str) -> list[CompletionItem]:
    """What a word of the command line of a tool, which is in `module`, can become."""
    tool = module.rpartition(".")[2]
    if incomplete.startswith("-"):
        command: Command = import_module(module).COMMAND
        options = command.completions().items()
        return [CompletionItem(name, help=text) for name, text in options if name.startswith(incomplete)]
    names: list[str] = []
    if tool == "rmmod" or (tool == "modprobe" and {"-r", "--remove"} & set(ctx.args)):
        names = _loaded(ctx)
    elif tool == "modprobe":
        names = _known(ctx)
    elif tool == "modinfo":
        names = samples.names()
    return _or_files(names, incomplete)


def sample(incomplete: str) -> list[CompletionItem]:
    """Samples, else files."""
    return _or_files(samples.names(), incomplete)


def device(incomplete: str) -> list[CompletionItem]:
    """Devices that are shipped; behind a comma what may be said of one; else files."""
    from kmod_emu.drivers.models import SHIPPED, keys

    name, comma, _ = incomplete.partition(",")
    if not comma:
        return _or_files(SHIPPED, incomplete)
    said = incomplete.rpartition(",")[0]
    words = [f"{said},{key}=" for key in keys(name)] if name in SHIPPED else []
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def machine_path(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Files of the kept machine; a directory's name ends with a slash."""
    from kmod_emu.uapi.stat import S_IFDIR, is_type

    directory = incomplete[: incomplete.rfind("/") + 1]
    items = []
    try:
        with machine(_state(ctx), change=False) as kernel, kernel.process(comm="ls") as process:
            for name in sorted(process.listdir(directory or ".")):
                path = f"{directory}{name}"
                if path.startswith(incomplete):
                    slash = "/" if is_type(process.stat(path).mode, S_IFDIR) else ""
                    items.append(CompletionItem(path + slash))
    except (KernelError, OSError):
        pass
    return items


def _or_files(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """The names that begin so, else the shell's own completion of files."""
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return items or [CompletionItem(incomplete, type="file")]


def _state(ctx: click.Context) -> str | None:
    given = ctx.parent.params.get("state") if ctx.parent else None
    return classic_path(given) if is_classic(ctx) else given


def _loaded(ctx: click.Context) -> list[str]:
    """Modules of the kept machine; none where it cannot be read."""
    try:
        return [name for name, *_ in StateFile(state_path(_state(ctx))).notes["modules"]]
    except (OSError, KeyError):
        return []


def _known(ctx: click.Context) -> list[str]:
    """Modules that the machine's module directory has."""
    try:
        file = StateFile(state_path(_state(ctx)))
        tables = file.tables["subsystems"]
        if is_classic(ctx) and not tables["ModuleLoader"]["directory"]:
            return samples.classic_names()
        chosen = tables["ModuleLoader" if is_classic(ctx) else "Kmod"]["directory"]
        directory = chosen or f"/lib/modules/{file.notes['release']}"
        text = Path(directory, "modules.dep").read_text(errors="surrogateescape")
    except (OSError, KeyError, TypeError):
        return []
    return sorted(re.findall(r"^(?:[^:\n]*/)?([^:/.\n]+)\.k?o[^:\n]*:", text, re.MULTILINE))
