"""/proc files about the machine as a whole; subsystems add their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.proc_generic import ProcTree
from kmod_emu.fs.sysctl import sysctl_nodes
from kmod_emu.fs.sysctl_table import SysctlTables
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.resource import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_DIRECTORIES = ("driver", "fs", "bus")  # for modules to put theirs in (fs/proc/root.c)


class Procfs:
    """The files of /proc; `root` is what is mounted, `processes` lists the directories of tasks."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        profile = kernel.profile
        self.sysctl_kernel = sysctl_nodes(kernel)
        self.sysctls = SysctlTables(kernel, self.sysctl_kernel)
        kernel.add(self.sysctls)
        self.files: dict[str, Node] = {
            "version": _text((profile.banner or f"Linux version {profile.release} {profile.version}") + "\n"),
            "uptime": Node(0o444, read=self._uptime),
            "sys": directory(self.sysctls.list, strict=True),
            "devices": Node(0o444, read=self._devices),
            "iomem": Node(0o444, read=lambda task: show(kernel, "iomem_resource", task)),
            "ioports": Node(0o444, read=lambda task: show(kernel, "ioport_resource", task)),
            "interrupts": Node(0o444, read=lambda task: kernel.irqs.text()),
        }
        self.tree = ProcTree(kernel, self.files)
        for name in _DIRECTORIES:
            self.tree.create(name, 0, 0o555, "dir")
        self.bus: dict[str, Node] = {}  # what the kernel itself has in /proc/bus
        modules = self.tree.root.entries
        self.files["bus"] = directory(lambda: {**modules["bus"].entries, **self.bus})
        self.processes: Callable[[], dict[str, Node]] = dict
        self.block_majors: Callable[[], dict[int, str]] = dict
        self.root = directory(lambda: {**self.tree.root.entries, **self.files, **self.processes()})

    def _devices(self, task: Task) -> str:
        """Majors and who has them (fs/proc/devices.c)."""
        lines = [f"{region.major:3d} {region.name}\n" for region in self._kernel[CharDevices]]
        return "".join(["Character devices:\n", *lines, "\nBlock devices:\n", *self._block_majors()])

    def _block_majors(self) -> list[str]:
        return [f"{major:3d} {name}\n" for major, name in self.block_majors().items()]

    def _uptime(self, task: Task) -> str:
        hundredths = self._kernel.clock.now_ns * 100 // NSEC_PER_SEC
        return f"{hundredths // 100}.{hundredths % 100:02d} 0.00\n"


def _text(text: str) -> Node:
    return Node(0o444, read=lambda task: text)
