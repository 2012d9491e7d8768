"""The kernel's own file systems, mounted where programs expect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_MOUNTS = {
    "/dev": "devtmpfs",
    "/proc": "proc",
    "/sys": "sysfs",
    "/sys/kernel/debug": "debugfs",
    "/tmp": "tmpfs",
    "/run": "tmpfs",
}


def mount_all(kernel: VmlinuxKernel) -> None:
    """As an initramfs does: by mkdir(2) and mount(2)."""
    with kernel.process(comm="init") as process:
        for place, kind in _MOUNTS.items():
            path, name = (process.put(text.encode() + b"\0") for text in (place, kind))
            process.syscall("mkdir", path, 0o755)  # some are there
            process.enter("mount", name, path, name, 0, 0)
