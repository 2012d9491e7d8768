"""/proc files about the machine as a whole; subsystems add their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.taint import Taint
from kmod_emu.kernel.tasks import CAP_SYS_ADMIN
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

HOSTNAME = "kmod-emu"


class Procfs:
    """The files of /proc; `root` is what is mounted."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        profile = kernel.profile
        self.sysctl_kernel: dict[str, Node] = {
            "hostname": _text(f"{HOSTNAME}\n"),
            "osrelease": _text(f"{profile.release}\n"),
            "ostype": _text("Linux\n"),
            "version": _text(f"{profile.version}\n"),
            "dmesg_restrict": _text("1\n"),
            "kptr_restrict": _text("0\n"),
            "perf_event_paranoid": _text("3\n"),
            "printk": Node(0o444, read=lambda task: f"{kernel.printk.console_loglevel}\t4\t1\t7\n"),
            "tainted": Node(0o644, read=lambda task: f"{kernel.taint.mask}\n", write=self._write_tainted),
        }
        self.files: dict[str, Node] = {
            "version": _text((profile.banner or f"Linux version {profile.release} {profile.version}") + "\n"),
            "uptime": Node(0o444, read=self._uptime),
            "sys": directory({"kernel": directory(self.sysctl_kernel)}),
        }
        self.root = directory(self.files)

    def _uptime(self, task: Task) -> str:
        hundredths = self._kernel.clock.now_ns * 100 // NSEC_PER_SEC
        return f"{hundredths // 100}.{hundredths % 100:02d} 0.00\n"

    def _write_tainted(self, task: Task, data: bytes) -> None:
        """kernel/sysctl.c: proc_taint ORs the bits in and never clears one."""
        if not task.capable(CAP_SYS_ADMIN):
            raise KernelError(errno.EPERM, "setting taint flags needs CAP_SYS_ADMIN")
        value = sysctl_number(data)
        for flag in Taint:
            if value >> flag & 1:
                self._kernel.taint.add(flag)


def sysctl_number(data: bytes) -> int:
    """The number written to a sysctl; EINVAL if it is none."""
    try:
        return int(data.decode("ascii").strip(), 0)
    except (ValueError, UnicodeDecodeError):
        raise KernelError(errno.EINVAL, "a number is expected") from None


def _text(text: str) -> Node:
    return Node(0o444, read=lambda task: text)
