"""The machine that a test gets: with the stub base kernel of a release, or with a distribution's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import profile
from kmod_emu.api import Kernel

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Profile
    from kmod_emu.kernel.limits import Limits


def machine(
    release: Profile | str | None, base: str | None, *, sanitize: str, limits: Limits | None
) -> Kernel:
    """Boot one; of a distribution's kernel the log begins after its boot.

    Args:
        release: Of the stub base kernel.
        base: A distribution's kernel instead: a vmlinuz file, or a release that `kmod-emu kernel list` shows.
        sanitize: What is checked; by "default" that is nothing on a distribution's kernel.
        limits: What modules may use.

    Raises:
        LookupError: There is no such kernel, or it does not boot.
    """
    if not base:
        return Kernel(release, sanitize=sanitize, limits=limits)
    from kmod_emu.vmlinux import kernels
    from kmod_emu.vmlinux.errors import BadImage, BootFailed
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

    image, modules = kernels.locate(base)
    try:
        kernel = VmlinuxKernel(image, modules=modules, sanitize="off" if sanitize == "default" else sanitize)
    except OSError as error:
        raise LookupError(f"{image}: {error.strerror}") from None
    except (BadImage, BootFailed) as error:
        raise LookupError(f"{image}: {error}") from None
    if limits is not None:
        kernel.usage.limits = limits
    kernel.printk.clear()
    return kernel


def release_of(release: str, base: str) -> str:
    """For which release modules are built that are to run on such a machine.

    Raises:
        LookupError: There is no such kernel.
    """
    if not base:
        return profile.load(release).release
    from kmod_emu.vmlinux import kernels
    from kmod_emu.vmlinux.errors import BadImage

    image, _ = kernels.locate(base)
    try:
        return kernels.release_at(image)
    except OSError as error:
        raise LookupError(f"{image}: {error.strerror}") from None
    except BadImage as error:
        raise LookupError(f"{image}: {error}") from None
