"""The kernel's own file systems, mounted where programs expect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.user.files import Buffers

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_MOUNTS = {"/dev": "devtmpfs", "/proc": "proc", "/sys": "sysfs", "/tmp": "tmpfs", "/run": "tmpfs"}
_DEBUGFS = "/sys/kernel/debug"


def mount_all(kernel: VmlinuxKernel) -> None:
    """As an initramfs does: by mkdir(2) and mount(2)."""
    with kernel.process(comm="init") as process:
        for place, kind in [*_MOUNTS.items(), (_DEBUGFS, "debugfs")]:
            with Buffers(process) as buffers:
                path, name = buffers.text(place), buffers.text(kind)
                process.syscall("mkdir", path, 0o755)  # some are there
                process.enter("mount", name, path, name, 0, 0)
