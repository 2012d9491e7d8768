"""The kernel's own file systems, mounted where programs expect them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.vfs import ETC
from kmod_emu.uapi.fcntl import O_CREAT, O_WRONLY

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_MOUNTS = {
    "/dev": "devtmpfs",
    "/dev/pts": "devpts",
    "/proc": "proc",
    "/sys": "sysfs",
    "/sys/kernel/debug": "debugfs",
    "/sys/kernel/security": "securityfs",
    "/sys/kernel/tracing": "tracefs",
    "/tmp": "tmpfs",
    "/run": "tmpfs",
}
_DIRECTORIES = {"/etc": 0o755, "/proc": 0o555, "/sys": 0o555, "/tmp": 0o1777, "/run": 0o755, "/var": 0o755,
                "/mnt": 0o755}  # fmt: skip


def mount_all(kernel: VmlinuxKernel) -> None:
    """As an initramfs does: by mkdir(2) and mount(2)."""
    with kernel.process(comm="init") as process:
        for place, mode in _DIRECTORIES.items():
            process.syscall("mkdir", process.put(place.encode() + b"\0"), mode)  # some are there
        for place, kind in _MOUNTS.items():
            process.syscall("mkdir", process.put(place.encode() + b"\0"), 0o755)
            path, name = (process.put(text.encode() + b"\0") for text in (place, kind))
            process.enter("mount", name, path, name, 0, 0)
        for file, text in ETC.items():
            fd = process.open(f"/etc/{file}", O_CREAT | O_WRONLY, 0o644)
            process.write(fd, text.encode())
            process.close(fd)
