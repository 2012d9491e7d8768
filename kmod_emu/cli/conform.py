"""kmod-emu conform: our loader beside a kernel's own."""

from __future__ import annotations

import sys

import click

from kmod_emu.cli.base import find_kernel
from kmod_emu.cli.command import reports_errors
from kmod_emu.cli.main import USAGE_ERROR
from kmod_emu.kmod.errors import ToolError
from kmod_emu.text import tame


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE.ko..."
)
@click.option(
    "--kernel", "image", required=True, metavar="VMLINUZ|RELEASE", help="The kernel on which both load."
)
@click.option(
    "--needs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.ko",
    help="What is loaded before each of them; may be given several times.",
)
@reports_errors
def conform(files: tuple[str, ...], image: str, needs: tuple[str, ...]) -> None:
    """Load each FILE by our loader and by the kernel's own, on equal machines, and say what differs.

    Compared are the answers of the system calls, dmesg, the row of /proc/modules with its use count, exports
    as later modules find them, where sections lie and the bytes of the code.

    Exit status: 0 nothing differs, 1 something does, 2 wrong usage.
    """
    from kmod_emu.observe.conform import Conformity
    from kmod_emu.vmlinux.errors import BadImage, BootFailed

    image, _ = find_kernel(image)
    try:
        both = Conformity(image)
    except OSError as error:
        raise ToolError(f"kmod-emu: {image}: {error.strerror}", USAGE_ERROR) from None
    except (BadImage, BootFailed) as error:
        raise ToolError(f"kmod-emu: {image}: {tame(str(error))}", USAGE_ERROR) from None
    differ = 0
    for file in files:
        found = both.differences(file, needs)
        differ += bool(found)
        for sentence in found:
            click.echo(f"{tame(file)}: {tame(sentence)}")
    click.echo(f"{len(files) - differ} of {len(files)} are loaded alike")
    sys.exit(int(bool(differ)))
