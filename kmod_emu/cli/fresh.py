"""A fresh machine for one module: what `run`, `gdbserver` and their like begin with."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from kmod_emu import samples
from kmod_emu.api import Kernel
from kmod_emu.cli.base import STUB, boot_base
from kmod_emu.cli.limits import given_limits
from kmod_emu.cli.main import USAGE_ERROR
from kmod_emu.errors import KernelError
from kmod_emu.kmod.choose import profile_for
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from kmod_emu.debug.recording import Recording

# What commands that begin so take, each where it makes sense.
RELEASE = click.option(
    "--release", help="The kernel release to boot. [default: the one the module was built for]"
)
PERMISSIVE = click.option("--permissive", is_flag=True, help="Let unimplemented kernel functions return 0.")
NO_SMAP = click.option("--no-smap", is_flag=True, help="Let kernel code follow user pointers by itself.")
MODULES = click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where request_module() finds modules: a directory with modules.dep.",
)


class Fresh(NamedTuple):
    """A machine that has just booted, and what for.

    Attributes:
        path: Of the module's file.
        reason: Why this release, where the module's own is not known.
    """

    kernel: Kernel
    path: str
    reason: str


def fresh_machine(
    module: str,
    release: str | None = None,
    *,
    permissive: bool = False,
    smap: bool = True,
    modules: str | None = None,
    sanitize: str = "default",
    base: str = STUB,
    loader: str = "python",
) -> Fresh:
    """Boot a machine for MODULE, a file or a sample's name; exits with a sentence if that cannot be.

    Args:
        module: As it stands on the command line.
        release: What to boot; by default what the module was built for.
        permissive: As `Kernel` takes it, like the others.
        smap: Likewise.
        modules: Likewise.
        sanitize: Likewise.
        base: The base kernel, a vmlinuz or "stub".
        loader: Whose code loads modules, on a distribution's kernel.
    """
    try:
        path = find_module(module)
        if base != STUB:
            checks = "off" if sanitize == "default" else sanitize
            kernel: Kernel = boot_base(base, loader=loader, modules=modules, sanitize=checks)
            kernel.printk.clear()  # what is shown is what the module does
            return Fresh(kernel, path, "")
        if recording := recording_at(path):
            release = release or recording.release
            permissive, smap = recording.permissive, recording.smap
        choice = None if release else profile_for(path)
        kernel = Kernel(
            choice.profile if choice else release,
            permissive=permissive,
            smap=smap,
            modules=modules,
            sanitize=sanitize,
            limits=given_limits(),
        )
    except ToolError as error:
        click.echo(str(error), err=True)
        sys.exit(error.status)
    except LookupError as error:
        click.echo(f"kmod-emu: {error.args[0]}", err=True)
        sys.exit(USAGE_ERROR)
    return Fresh(kernel, path, choice.reason if choice and choice.reason else "")


def recording_at(path: str) -> Recording | None:
    """The recording in a file, None if it is another kind of file or cannot be read.

    Raises:
        KernelError: It is damaged.
    """
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        return None
    with open(path, "rb") as file:
        if file.read(4) == b"\x7fELF":  # nearly always: what reads recordings is not even imported
            return None
        from kmod_emu.debug.recording import MAGIC, from_bytes, is_recording

        file.seek(0)
        if not is_recording(file.read(len(MAGIC))):
            return None
        file.seek(0)
        contents = file.read()
    try:
        return from_bytes(contents)
    except KernelError as error:
        error.filename = path
        raise


def find_module(module: str) -> str:
    """A path, or a sample's path for a bare name; a directory of that name, as samples/ has, is not meant.

    Raises:
        ToolError: There is neither.
    """
    bare = "/" not in module and not module.endswith(".ko")
    if bare and not os.path.isfile(module) and module in samples.names():
        return str(samples.path(module))
    if bare and not os.path.exists(module):
        names = ", ".join(samples.names())
        raise ToolError(f"kmod-emu: there is no file {module}, and no sample of that name; samples: {names}")
    return module
