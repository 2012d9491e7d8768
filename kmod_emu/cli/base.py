"""Which base kernel a command's machine has: the stub, or a distribution's own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kmod_emu.cli.kept import given, keep
from kmod_emu.cli.limits import obey_limits
from kmod_emu.cli.main import AHEAD, USAGE_ERROR, nothing_collected
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable

    from click._termui_impl import ProgressBar

    from kmod_emu.vmlinux.kernel import VmlinuxKernel

F = TypeVar("F", bound="Callable[..., Any]")

STUB = "stub"
_LAST_WORDS = 40  # lines of the log that are shown of a boot that fails
_INITCALLS = 670  # about so many has a distribution's kernel


def skipped_initcalls() -> tuple[str, ...]:
    """What the command that runs was told to leave out of the boot."""
    return given("skip_initcall") or ()


_KERNEL = click.option(
    "--kernel",
    "base",
    default=STUB,
    show_default=True,
    metavar="stub|VMLINUZ",
    help="The base kernel: ours, or a distribution's: a file, or a release of `kmod-emu kernel list`.",
)
_SKIP = click.option(
    "--skip-initcall",
    multiple=True,
    metavar="NAME",
    expose_value=False,
    callback=keep,
    help="Boot a distribution's kernel without one of its initcalls, such as one that dies.",
)


def BASE(command: F) -> F:  # noqa: N802 - used as the other options are
    """Decorator: the options --kernel, which comes as `base`, and --skip-initcall."""
    return _KERNEL(_SKIP(command))


LOADER = click.option(
    "--loader",
    type=click.Choice(["python", "kernel"]),
    default="python",
    show_default=True,
    help="On a distribution's kernel, whose code loads modules: ours, or the kernel's own.",
)


def find_kernel(image: str) -> tuple[str, str | None]:
    """The file of a kernel that may be named by its release, and where its modules are if that is known."""
    from kmod_emu.vmlinux import kernels

    return kernels.locate(image)


def _progress(shown: ExitStack) -> Callable[[object], None]:
    """What shows how far a boot is; one that comes out of the cache has no initcalls, and shows nothing."""
    bar: ProgressBar[int] | None = None

    def told(initcall: object) -> None:
        nonlocal bar
        if bar is None:
            bar = shown.enter_context(click.progressbar(length=_INITCALLS, label="booting", file=sys.stderr))
        bar.update(1)

    return told


def boot_base(
    image: str,
    *,
    loader: str = "python",
    modules: str | None = None,
    sanitize: str = "default",
    permissive: bool = False,
) -> VmlinuxKernel:
    """Boot the kernel of a vmlinuz file or a known release, with a progress bar on a terminal.

    Raises:
        ToolError: It is none, or does not boot.
    """
    with nothing_collected():
        from kmod_emu.vmlinux.errors import BadImage, BootFailed
        from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

    image, directory = find_kernel(image)
    modules = modules or directory
    try:
        with ExitStack() as shown, nothing_collected():
            told = _progress(shown) if sys.stderr.isatty() else None
            kernel = VmlinuxKernel(
                image,
                loader=Loader(loader),
                modules=modules,
                sanitize="off" if sanitize == "default" else sanitize,
                permissive=permissive,
                skip=skipped_initcalls(),
                told=told,
                ahead=click.get_current_context().meta.get(AHEAD),
            )
    except OSError as error:
        hint = "; `kmod-emu kernel list` shows the releases that are known" if "/" not in image else ""
        raise ToolError(f"kmod-emu: {image}: {error.strerror}{hint}", USAGE_ERROR) from None
    except (BadImage, BootFailed) as error:
        for line in getattr(error, "dmesg", ())[-_LAST_WORDS:]:
            click.echo(tame(line), err=True)
        raise ToolError(f"kmod-emu: {image}: {tame(str(error))}", USAGE_ERROR) from None
    obey_limits(kernel)
    return kernel
