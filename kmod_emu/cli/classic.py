"""Commands of the 2.4 personality that are no module tools, and the comparison of both."""

from __future__ import annotations

import sys
import textwrap
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.main import UID, USAGE_ERROR, colour
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from kmod_emu.classic.kernel import ClassicKernel
    from kmod_emu.kernel.events import Event
    from kmod_emu.observe.compare_paths import Comparison, Side

_WIDTH, _TITLE = 46, 20
_QUIET_CALLS = {"query_module", "open", "read", "write", "close"}  # told of as a whole

_versions = click.option(
    "--versions", is_flag=True, help="Symbols carry versions, as printk_R1b7d4074 (CONFIG_MODVERSIONS)."
)
_modules = click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Its /lib/modules/2.4.32, with modules.dep. [default: the samples that come along]",
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def wrong_machine(ctx: click.Context) -> None:
    """A command that only the other kind of machine knows."""
    from kmod_emu.cli.main import is_classic

    name, kind = ctx.info_name, "only with" if not is_classic(ctx) else "not with"
    click.echo(f"kmod-emu: {name} works {kind} --classic", err=True)
    sys.exit(USAGE_ERROR)


@click.command()
@_versions
@_modules
@click.pass_obj
@reports_errors
def boot(state: str | None, versions: bool, modules: str | None) -> None:
    """Start a fresh machine of the 2.4 personality and keep it for the other commands."""
    from kmod_emu.classic.kernel import ClassicKernel
    from kmod_emu.cli.machine import keep

    kernel = keep(state, ClassicKernel(versions=versions, modules=modules))
    click.echo(kernel.profile.banner)


@click.command()
@click.pass_obj
@reports_errors
def devices(state: str | None) -> None:
    """Print the table of drivers: each row, and the function that each operation leads to."""
    from kmod_emu.classic.char_dev import ClassicCharDevices
    from kmod_emu.cli.files import print_drivers
    from kmod_emu.cli.machine import machine

    with machine(state, change=False) as kernel:
        print_drivers(kernel[ClassicCharDevices].drivers())


@click.command()
@click.argument("module")
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@_versions
@_modules
@click.option("--kerneld", is_flag=True, help="Let kerneld load what the module asks for, as Linux 2.0 did.")
@click.option("--uid", type=UID, default=0, show_default=True, help="Who calls insmod.")
@reports_errors
def run(
    module: str, params: tuple[str, ...], versions: bool, modules: str | None, kerneld: bool, uid: int
) -> None:
    """Load MODULE on a fresh machine of Linux 2.4, show every step, and remove it again.

    MODULE is a .o file or the name of a classic sample, such as `hello`.
    """
    from kmod_emu.classic.kernel import ClassicKernel
    from kmod_emu.classic.kmod import Daemon, ModuleLoader
    from kmod_emu.observe.narrator import Narrator

    path = module if modules else _sample(module)
    kernel = ClassicKernel(versions=versions, modules=modules)
    kernel[ModuleLoader].daemon = Daemon() if kerneld else None
    narrator = Narrator(click.echo, colour)

    def tell(event: Event) -> None:
        if event.name != "syscall" or event.detail["name"] not in _QUIET_CALLS:
            narrator(event)

    kernel.events.listen(tell)
    click.echo(f"$ insmod {' '.join([module, *params])}    # on a fresh {kernel.profile.release}")
    _follow(kernel, path, params, uid)


def _follow(kernel: ClassicKernel, path: str, params: tuple[str, ...], uid: int) -> None:
    from kmod_emu.classic.insmod import module_name
    from kmod_emu.classic.procfs import proc_modules

    error: ToolError | Killed | None = None
    try:
        kernel.insmod(path, params, uid=uid)
    except (ToolError, Killed) as caught:
        error = caught
    click.echo("\n$ cat /proc/modules")
    click.echo(proc_modules(kernel), nl=False)
    name = module_name(path)
    if error is None:
        click.echo(f"\n$ rmmod {name}")
        try:
            kernel.rmmod(name)
        except Killed as caught:
            error = caught
        except KernelError as caught:
            error = ToolError(f"{name}: {caught.strerror}")
    click.echo("\n$ dmesg")
    click.echo("".join(f"{line}\n" for line in kernel.dmesg()), nl=False)
    if error is not None:
        raise error


def _sample(module: str) -> str:
    """A path, or a classic sample's on the machine for a bare name."""
    from kmod_emu import samples
    from kmod_emu.classic.conf import ROOT

    if "/" not in module and "." not in module and not Path(module).is_file():
        try:
            return f"{ROOT}/{samples.classic(module).name}"
        except LookupError as error:
            raise ToolError(f"kmod-emu: {error.args[0]}", USAGE_ERROR) from None
    return module


@click.command()
@click.argument("module")
@click.argument("modern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@reports_errors
def compare_paths(module: str, modern: str | None, as_json: bool) -> None:
    """Load a module on a machine of Linux 2.4 and on a modern one, and put the ten steps side by side.

    MODULE is the name of a sample that exists for both, such as `hello`; or a .o file for the classic
    machine, and MODERN a .ko file for the modern one.
    """
    from kmod_emu import samples
    from kmod_emu.observe.compare_paths import compare

    old = Path(_sample(module))
    try:
        new = Path(modern) if modern else samples.path(old.stem)
    except LookupError as error:
        raise ToolError(f"kmod-emu: {error.args[0]}", USAGE_ERROR) from None
    comparison = compare(old, new)
    if as_json:
        import json

        click.echo(json.dumps(_plain(comparison), indent=2))
    else:
        _print_table(old.stem, comparison)
    sys.exit(int(any(comparison.errors.values())))


def _plain(comparison: Comparison) -> dict[str, object]:
    return {
        "steps": [
            {"title": row.title, "classic": row.classic._asdict(), "modern": row.modern._asdict(),
             "moved": row.moved}
            for row in comparison.rows
        ],
        "system_calls": comparison.calls,
        "bytes": comparison.sizes,
        "moved": comparison.moved,
        "errors": comparison.errors,
    }  # fmt: skip


def _print_table(name: str, comparison: Comparison) -> None:
    from kmod_emu.observe.steps import show

    click.echo(colour(f"    {'insmod ' + name:<{_TITLE}}  {'Linux 2.4':<{_WIDTH}}  Linux 2.6 and later"))
    for number, row in enumerate(comparison.rows, 1):
        cells = (textwrap.wrap(row.title, _TITLE), _cell(row.classic), _cell(row.modern))
        for line, (title, old, new) in enumerate(zip_longest(*cells, fillvalue="")):
            head = f"{number:2d}. " if line == 0 else "    "
            click.echo(f"{head}{title:<{_TITLE}}  {old:<{_WIDTH}}  {new}".rstrip())
    click.echo()
    for key, title in (("classic", "Linux 2.4"), ("modern", "Linux 2.6 and later")):
        runs = ((call, len(list(group))) for call, group in groupby(comparison.calls[key]))
        calls = ", ".join(f"{call} ({count} times)" if count > 1 else call for call, count in runs)
        click.echo(f"{title}: {calls}; {comparison.sizes[key]} bytes through init_module(2)")
        if comparison.errors[key]:
            click.echo("\n".join(textwrap.wrap(show(comparison.errors[key]), 100, initial_indent="    ")))
    moved = ", ".join(comparison.moved) or "nothing"
    click.echo("\n".join(textwrap.wrap(f"Moved from insmod to the kernel: {moved}.", 100)))


def _cell(side: Side) -> list[str]:
    if not side.where:
        return ["(not done)"]
    return textwrap.wrap(f"[{side.where}] {side.detail}", _WIDTH, break_on_hyphens=False)
