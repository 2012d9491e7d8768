"""A fresh machine for one module: what `run`, `gdbserver` and their like begin with."""

from __future__ import annotations

import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from kmod_emu import samples
from kmod_emu.api import Kernel
from kmod_emu.cli.base import BASE, LOADER, STUB, boot_base
from kmod_emu.cli.devices import DEVICES, MODPROBE, furnish
from kmod_emu.cli.limits import LIMITS, given_limits
from kmod_emu.cli.main import SANITIZE, USAGE_ERROR
from kmod_emu.errors import KernelError
from kmod_emu.kernel.limits import Limits
from kmod_emu.kmod.choose import profile_for
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.debug.recording import Recording

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.option("--release", help="The kernel release to boot. [default: the one the module was built for]"),
    BASE,
    LOADER,
    click.option(
        "--modules",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Where request_module() finds modules: a directory with modules.dep.",
    ),
    DEVICES,
    MODPROBE,
    SANITIZE,
    click.option("--permissive", is_flag=True, help="Let unimplemented kernel functions return 0."),
    click.option("--no-smap", is_flag=True, help="Let kernel code follow user pointers by itself."),
    LIMITS,
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


class Setup(NamedTuple):
    """Which machine a command's options ask for.

    Attributes:
        release: What to boot; by default what the module was built for.
        base: The base kernel, a vmlinuz or "stub".
        loader: Whose code loads modules, on a distribution's kernel.
        modules: As `Kernel` takes it, like the others.
        sanitize: Likewise.
        permissive: Likewise.
        no_smap: Its opposite.
    """

    release: str | None = None
    base: str = STUB
    loader: str = "python"
    modules: str | None = None
    sanitize: str = "default"
    permissive: bool = False
    no_smap: bool = False

    def boot(self, module: str) -> Fresh:
        """Boot a machine for MODULE, a file or a sample's name; exits with a sentence if that cannot be.

        A recording says itself on which machine it was made.
        """
        try:
            path = find_module(module, required=self.base == STUB)
            recording = recording_at(path)
            return self._boot(path) if recording is None else self._boot_for(recording, path)
        except ToolError as error:
            click.echo(str(error), err=True)
            sys.exit(error.status)
        except LookupError as error:
            click.echo(f"kmod-emu: {error.args[0]}", err=True)
            sys.exit(USAGE_ERROR)

    def _boot_for(self, recording: Recording, path: str) -> Fresh:
        made = recording.made
        base = self.base if self.base != STUB else made.get("kernel", STUB)
        fresh = self._replace(
            release=recording.release if base == STUB else None,
            base=base,
            loader=made.get("loader", self.loader),
            sanitize=made.get("sanitize", self.sanitize),
            permissive=recording.permissive,
            no_smap=not recording.smap,
        )._boot(path)
        if fresh.kernel.made().get("digest") != made.get("digest"):
            raise ToolError(f"kmod-emu: {base} is not the kernel of {path}; name it by --kernel", USAGE_ERROR)
        if recording.limits and given_limits() is None:
            fresh.kernel.usage.limits = Limits(*recording.limits)  # type: ignore[arg-type]
        return fresh

    def _boot(self, path: str) -> Fresh:
        if self.base != STUB:
            if self.release is not None:
                raise ToolError("kmod-emu: --release is for the stub kernel", USAGE_ERROR)
            kernel: Kernel = boot_base(
                self.base,
                loader=self.loader,
                modules=self.modules,
                sanitize=self.sanitize,
                permissive=self.permissive,
            )
            furnish(kernel)
            path = _installed(kernel, path)
            kernel.printk.clear()  # what is shown is what the module does
            return Fresh(kernel, path, "")
        choice = None if self.release else profile_for(path)
        kernel = Kernel(
            choice.profile if choice else self.release,
            permissive=self.permissive,
            smap=not self.no_smap,
            modules=self.modules,
            sanitize=self.sanitize,
            limits=given_limits(),
        )
        furnish(kernel)
        return Fresh(kernel, path, choice.reason if choice else "")


def boots_machine(command: F) -> F:
    """Decorator: the options that say what machine a module gets, which come as `setup`."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        setup = Setup(**{name: options.pop(name) for name in Setup._fields})
        return command(*args, setup=setup, **options)

    decorated = cast("F", wrapped)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


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


def _installed(kernel: Kernel, path: str) -> str:
    """The file of a module of the kernel's own, for one that is named only; what it needs is loaded.

    Raises:
        ToolError: There is none of that name, or what it needs cannot be loaded.
    """
    if os.path.exists(path) or "/" in path:
        return path
    from kmod_emu.kmod.explain import module_directory
    from kmod_emu.kmod.files import module_name
    from kmod_emu.sweep.tree import read_tree

    directory = module_directory(kernel)
    target = next((each for each in read_tree(directory) if each.name == module_name(path)), None)
    if target is None:
        raise ToolError(f"kmod-emu: there is no file {path}, and no module of that name in {directory}")
    there = {module.name for module in kernel.modules}  # by --modprobe, or with a device
    for need in (need for need in target.needs if module_name(need) not in there):
        try:
            kernel.insmod(need)
        except KernelError as error:
            raise ToolError(f"kmod-emu: {path} needs {need}: {error.explanation}") from None
    return target.file


def find_module(module: str, *, required: bool = True) -> str:
    """A path, or a sample's path for a bare name; a directory of that name, as samples/ has, is not meant.

    Args:
        module: What the user said.
        required: Whether a bare name has to be one or the other.

    Raises:
        ToolError: There is neither.
    """
    bare = "/" not in module and not module.endswith(".ko")
    if bare and not os.path.isfile(module) and module in samples.names():
        return str(samples.path(module))
    if required and bare and not os.path.exists(module):
        names = ", ".join(samples.names())
        raise ToolError(f"kmod-emu: there is no file {module}, and no sample of that name; samples: {names}")
    return module
