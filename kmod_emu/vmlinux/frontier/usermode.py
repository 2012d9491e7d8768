"""User mode: what the kernel starts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_PROGRAMS = "programs run in the machine's own processes"


@frontier.replace("int __request_module(bool wait, const char *fmt, ...)", _PROGRAMS)
def __request_module(kernel: KernelCore, wait: int, fmt: bytes, args: object) -> int:
    """No modprobe is there (kernel/module/kmod.c)."""
    kernel.stand_ins.add("__request_module")
    return -2


@frontier.replace("int call_usermodehelper_exec(void *sub_info, int wait)", _PROGRAMS)
def call_usermodehelper_exec(kernel: KernelCore, sub_info: int, wait: int) -> int:
    """No program is there (kernel/umh.c)."""
    kernel.stand_ins.add("call_usermodehelper_exec")
    return -2
