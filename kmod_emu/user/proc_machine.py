"""/proc files that tools of user space expect, about the machine as a whole (fs/proc/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.families.crypto import crypto_text
from kmod_emu.drivers.families.files import file_systems
from kmod_emu.fs.tree import Node
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC
from kmod_emu.kernel.layout import RAM_SIZE
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

_USER_HZ = 100
_CPUINFO = {
    "processor": 0, "vendor_id": "GenuineIntel", "cpu family": 6, "model": 6, "model name": "kmod-emu",
    "stepping": 1, "cpu MHz": "1000.000", "physical id": 0, "siblings": 1, "core id": 0, "cpu cores": 1,
    "fpu": "yes", "wp": "yes", "flags":
    "fpu de pse tsc msr cx8 pge cmov mmx fxsr sse sse2 syscall nx lm smep smap",
}  # fmt: skip


def machine_files(kernel: KernelCore) -> dict[str, Node]:
    """Each by its name in /proc."""
    texts: dict[str, Callable[[], str]] = {
        "cmdline": lambda: " ".join(f"{k}={v}" if v else k for k, v in kernel.cmdline.items()) + "\n",
        "cpuinfo": _cpuinfo,
        "crypto": lambda: crypto_text(kernel),
        "filesystems": lambda: "".join(f"{line}\n" for line in file_systems(kernel)),
        "loadavg": lambda: _loadavg(kernel),
        "meminfo": lambda: _meminfo(kernel),
        "stat": lambda: _stat(kernel),
    }
    nodes = {name: _computed(text) for name, text in texts.items()}
    return {**nodes, "mounts": Node(0o777, target="self/mounts")}


def _computed(text: Callable[[], str]) -> Node:
    return Node(0o444, read=lambda task: text())


def _cpuinfo() -> str:
    lines = [f"{name}\t{'' if len(name) > 7 else chr(9)}: {value}\n" for name, value in _CPUINFO.items()]
    return "".join(lines) + "\n"


def _loadavg(kernel: KernelCore) -> str:
    pids = kernel.tasks.by_pid
    return f"0.00 0.00 0.00 1/{len(pids)} {max(pids)}\n"


def _meminfo(kernel: KernelCore) -> str:
    total, used = RAM_SIZE >> 10, kernel.pages.allocated * PAGE_SIZE >> 10
    values = dict.fromkeys(("MemTotal", "MemFree", "MemAvailable"), total - used) | {"MemTotal": total}
    values |= dict.fromkeys(("Buffers", "Cached", "SwapTotal", "SwapFree", "Shmem", "SReclaimable"), 0)
    return "".join(f"{name + ':':<15} {value:8d} kB\n" for name, value in values.items())


def _stat(kernel: KernelCore) -> str:
    """Time passes idle: what programs take of it is not kept."""
    idle = kernel.clock.now_ns * _USER_HZ // NSEC_PER_SEC
    cpu = f"0 0 0 {idle} 0 0 0 0 0 0\n"
    boot = EPOCH_AT_BOOT_NS // NSEC_PER_SEC
    running = f"procs_running 1\nprocs_blocked 0\nprocesses {max(kernel.tasks.by_pid)}\n"
    return f"cpu  {cpu}cpu0 {cpu}intr 0\nctxt 0\nbtime {boot}\n{running}"
