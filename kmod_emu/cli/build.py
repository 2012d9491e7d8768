"""kmod-emu new and build: writing and building modules on this computer."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kmod_emu.kbuild.templates import KINDS

_KINDS = "\n\n".join(f"{kind}: {what}." for kind, what in KINDS.items())


@click.command(
    "new", help=f"Write a new module NAME into a directory of that name.\n\nTemplates:\n\n{_KINDS}"
)
@click.argument("name")
@click.option("-t", "--template", type=click.Choice(list(KINDS)), default="hello", show_default=True,
              help="What kind of module.")  # fmt: skip
@click.option(
    "-C", "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where. [default: NAME]"
)
def new(name: str, template: str, directory: Path | None) -> None:
    """Write a module that builds."""
    from kmod_emu.kbuild import templates

    if not templates.names_file(name):
        raise click.BadParameter(
            f"{name!r} cannot be a module's name: letters, digits, - and _, not a digit first.",
            param_hint="NAME",
        )
    folder = directory or Path(name)
    for path in templates.write(folder, name, template):
        click.echo(path)
    click.echo(f"build it: kmod-emu build {folder}; then: kmod-emu run {folder / name}.ko")


@click.command("build", context_settings={"ignore_unknown_options": True})
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.argument("arguments", nargs=-1, metavar="[MAKE-ARGUMENT]...")
@click.option(
    "--release", help="The kernel release to build for. [default: the running one, else the newest]"
)
@click.option("--headers", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The kernel headers to use.")  # fmt: skip
def build(directory: Path, arguments: tuple[str, ...], release: str | None, headers: Path | None) -> None:
    """Build the modules of DIRECTORY by the kernel's build system, with the headers that are found."""
    from kmod_emu.kbuild.build import BuildError
    from kmod_emu.kbuild.build import build as run_kbuild
    from kmod_emu.kbuild.headers import advice, find_headers

    headers = headers or find_headers(release)
    if headers is None:
        wanted = f" for {release}" if release else ""
        click.echo(f"kmod-emu: there are no kernel headers{wanted} here; {advice()}", err=True)
        sys.exit(1)
    click.echo(f"headers: {headers}")
    try:
        modules = run_kbuild(directory, headers, arguments)
    except BuildError as error:
        click.echo(f"kmod-emu: {error}", err=True)
        sys.exit(1)
    for module in modules:
        click.echo(f"built: {module}")
    if not modules:
        click.echo("kmod-emu: make built no module: is there an obj-m?", err=True)
        sys.exit(1)
