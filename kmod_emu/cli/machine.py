"""The kept machine: one file that commands load, change and write back, one at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmod_emu.cli.base import STUB, boot_base
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.main import CLASSIC_SUFFIX
from kmod_emu.errors import KernelError
from kmod_emu.kernel.statefile import StateFile
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel


def state_path(given: str | None) -> Path:
    """Where the machine lives: as given, else in the user's state directory."""
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "kmod-emu" / "machine.kmod"


def classic_path(given: str | None) -> str:
    """Where the machine of the 2.4 personality lives: beside the modern one."""
    path = str(state_path(given))
    return path if path.endswith(CLASSIC_SUFFIX) else path + CLASSIC_SUFFIX


def kernel_class(path: Path) -> type[Kernel]:
    """The personality of the machine in a file, by the file's name."""
    if path.name.endswith(CLASSIC_SUFFIX):
        from kmod_emu.classic.kernel import ClassicKernel

        return ClassicKernel
    if path.exists() and "kernel" in StateFile(path).notes:
        from kmod_emu.vmlinux.kernel import VmlinuxKernel

        return VmlinuxKernel
    from kmod_emu.api import Kernel

    return Kernel


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else uses the machine meanwhile; others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def machine(given: str | None, *, change: bool) -> Iterator[Kernel]:
    """The kept machine; one is booted if there is none yet.

    Args:
        given: The --state option.
        change: Write the machine back, also when the kernel refuses: a crash leaves its traces. Where the
            emulator itself fails, or Ctrl-C ends the command halfway, the machine stays what it was.
    """
    path = state_path(given)
    kind = kernel_class(path)
    with locked(path), ends_at_once():
        kernel = kind.load(path) if path.exists() else kind()
        for text in kernel.ended:
            click.echo(f"kmod-emu: {text}", err=True)
        try:
            yield kernel
        except (KernelError, ToolError):
            if change:
                kernel.save(path)
            _tell(kernel)
            raise
        if change:
            kernel.save(path)
        _tell(kernel)


def _tell(kernel: Kernel) -> None:
    """Warnings and what checkers found during the command, a sentence each."""
    for finding in kernel.findings.lines:
        from kmod_emu.text import tame

        click.echo(f"kmod-emu: {tame(finding)}", err=True)


def boot(
    given: str | None,
    release: str | None,
    modules: str | None = None,
    sanitize: str = "default",
    base: str = STUB,
    loader: str = "python",
) -> Kernel:
    """Replace the kept machine by a fresh one.

    Args:
        given: The --state option.
        release: As `Kernel` takes it.
        modules: Likewise.
        sanitize: Likewise.
        base: The base kernel, a vmlinuz or "stub".
        loader: Whose code loads modules, on a distribution's kernel.

    Raises:
        LookupError: There is no profile of that release.
    """
    from kmod_emu.api import Kernel

    if base != STUB:
        checks = "off" if sanitize == "default" else sanitize
        return keep(given, boot_base(base, loader=loader, modules=modules, sanitize=checks))

    return keep(given, Kernel(release, modules=modules, sanitize=sanitize))


def keep(given: str | None, kernel: Kernel) -> Kernel:
    """Replace the kept machine by another."""
    path = state_path(given)
    with locked(path):
        kernel.save(path)
    return kernel
