"""The kept machine: one file that commands load, change and write back, one at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from kmod_emu import atomic, home
from kmod_emu.cli.base import STUB, boot_base
from kmod_emu.cli.interrupt import ends_at_once
from kmod_emu.cli.main import CLASSIC_SUFFIX
from kmod_emu.errors import InternalError, KernelError
from kmod_emu.kernel.statefile import StateFile
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import escape
from kmod_emu.uapi.errno import EINVAL

_PATIENCE, _POLL = 50, 0.02  # how often a command looks for the lock before it says that it waits, in s
_OWNER = 100  # characters of the lock file that are read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel


def state_path(given: str | None) -> Path:
    """Where the machine lives: as given, else in the user's state directory."""
    if given:
        return Path(given)
    return home.directory("STATE") / "machine.kmod"


def classic_path(given: str | None) -> str:
    """Where the machine of the 2.4 personality lives: beside the modern one."""
    path = str(state_path(given))
    return path if path.endswith(CLASSIC_SUFFIX) else path + CLASSIC_SUFFIX


def kernel_class(path: Path) -> type[Kernel]:
    """The class of the machine in a file, or of one that will be there: a classic one's name says so.

    Raises:
        KernelError: What is there is a classic machine under another name.
    """
    if path.name.endswith(CLASSIC_SUFFIX):
        from kmod_emu.classic.kernel import ClassicKernel

        return ClassicKernel
    from kmod_emu.api import Kernel, class_of

    if not path.exists():
        return Kernel
    found = class_of(StateFile(path).notes)
    if found.kind == "classic":
        raise KernelError(EINVAL, f"{path} holds a classic machine: its name has to end in {CLASSIC_SUFFIX}")
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else uses the machine meanwhile; others wait, and are told for whom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "a+") as lock:
        for _ in range(_PATIENCE):
            if _locks(lock):
                break
            time.sleep(_POLL)
        else:
            lock.seek(0)
            owner = escape(lock.read(_OWNER).encode())
            click.echo(f"kmod-emu: another command uses the machine{owner}: waiting", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f" (process {os.getpid()})")
        lock.flush()
        _sweep(path)
        yield


def _locks(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(path: Path) -> None:
    """Remove what a command left that was killed while it wrote: nobody else writes now."""
    for name in os.listdir(path.parent):
        if atomic.is_temporary(path.name, name):
            with suppress(OSError):
                os.unlink(path.with_name(name))


def _save(kernel: Kernel, path: Path) -> None:
    try:
        kernel.save(path)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        error.strerror = f"{error.strerror}; the machine there stays what it was before this command"
        error.filename = str(path)
        raise


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
        except InternalError:
            _tell(kernel)
            raise
        except (KernelError, ToolError):
            if change:
                _save(kernel, path)
            _tell(kernel)
            raise
        if change:
            _save(kernel, path)
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
        ToolError: A device or module that was asked for is not there.
    """
    from kmod_emu.api import Kernel
    from kmod_emu.cli.devices import furnish
    from kmod_emu.cli.limits import given_limits

    if base == STUB:
        kernel = Kernel(release, modules=modules, sanitize=sanitize, limits=given_limits())
    else:
        kernel = boot_base(base, loader=loader, modules=modules, sanitize=sanitize)
    furnish(kernel, kept=True)
    return keep(given, kernel)


def keep(given: str | None, kernel: Kernel) -> Kernel:
    """Replace the kept machine by another."""
    path = state_path(given)
    with locked(path):
        _save(kernel, path)
    return kernel
