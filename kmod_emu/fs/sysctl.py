"""/proc/sys/kernel: reading and writing sysctls by the kernel's rules (kernel/sysctl.c)."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node
from kmod_emu.kernel.taint import Taint
from kmod_emu.kernel.tasks import CAP_SYS_ADMIN
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_INT_MIN, _INT_MAX, _UINT_MAX = -(1 << 31), (1 << 31) - 1, (1 << 32) - 1
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?=[ \t\n\v\f\r\0]|$)")


class Range(NamedTuple):
    """What numbers a sysctl takes, and whether changing it needs CAP_SYS_ADMIN besides being root."""

    low: int = _INT_MIN
    high: int = _INT_MAX
    sysadmin: bool = False


# Numbers; what is not here is a text of the given size.
RANGES = {
    "dmesg_restrict": Range(0, 1, sysadmin=True),
    "hung_task_timeout_secs": Range(0, _INT_MAX),
    "kptr_restrict": Range(0, 2, sysadmin=True),
    "oops_limit": Range(0, _UINT_MAX),
    "panic": Range(),
    "panic_on_oops": Range(),
    "panic_on_warn": Range(0, 1),
    "perf_event_paranoid": Range(-1),
    "printk_delay": Range(0, 10000),
    "printk_ratelimit": Range(),
    "printk_ratelimit_burst": Range(),
    "randomize_va_space": Range(),
    "sysrq": Range(),
    "warn_limit": Range(0, _UINT_MAX),
}
TEXTS = {"domainname": 64, "hostname": 64, "modprobe": 255, "printk_devkmsg": 9}
_DEVKMSG = ("on", "off", "ratelimit")


def sysctl_nodes(kernel: KernelCore) -> dict[str, Node]:
    """The files of /proc/sys/kernel that the base kernel has; other rooms add theirs."""
    profile = kernel.profile
    nodes = {
        "cap_last_cap": _constant("40\n"),
        "osrelease": _constant(f"{profile.release}\n"),
        "ostype": _constant("Linux\n"),
        "version": _constant(f"{profile.version}\n"),
        "tainted": Node(
            0o644, read=lambda task: f"{kernel.taint.mask}\n", write=partial(_write_tainted, kernel)
        ),
    }
    for name in RANGES:
        nodes[name] = Node(
            0o644, read=partial(_show, kernel, name), write=partial(_write_numbers, kernel, name)
        )
    for name in TEXTS:
        nodes[name] = Node(0o644, read=partial(_show, kernel, name), write=partial(_write_text, kernel, name))
    nodes["printk"] = Node(0o644, read=partial(_show_printk, kernel), write=partial(_write_printk, kernel))
    return nodes


def numbers(data: bytes, count: int = 1) -> list[int]:
    r"""The numbers at the start of what was written, at most `count`.

    >>> numbers(b"0x10 7\n", 4), numbers(b" 010\n")
    ([16, 7], [8])

    Raises:
        KernelError: EINVAL, there is none, or something else is among them.
    """
    found: list[int] = []
    while len(found) < count and data.strip(b" \t\n\v\f\r\0"):
        match = _NUMBER.match(data)
        if match is None:
            raise KernelError(errno.EINVAL, "a number is expected")
        digits = match[2].decode()
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
        found.append(int(digits, base) * (-1 if match[1] else 1))
        data = data[match.end() :]
    if not found:
        raise KernelError(errno.EINVAL, "a number is expected")
    return found


def _constant(text: str) -> Node:
    return Node(0o444, read=lambda task: text)


def _show(kernel: KernelCore, name: str, task: Task) -> str:
    return f"{kernel.sysctl[name]}\n"


def _write_numbers(kernel: KernelCore, name: str, task: Task, data: bytes) -> None:
    allowed = RANGES[name]
    if allowed.sysadmin and not task.capable(CAP_SYS_ADMIN):
        raise KernelError(errno.EPERM, f"changing kernel.{name} needs CAP_SYS_ADMIN")
    (number,) = numbers(data)
    if not allowed.low <= number <= allowed.high:
        raise KernelError(errno.EINVAL, f"kernel.{name} takes {allowed.low} to {allowed.high}")
    kernel.sysctl.values[name] = number


def _write_text(kernel: KernelCore, name: str, task: Task, data: bytes) -> None:
    """proc_dostring(): up to the first newline, cut to what there is room for."""
    text = re.split(rb"[\n\0]", data, maxsplit=1)[0][: TEXTS[name]].decode("utf-8", "surrogateescape")
    if name == "printk_devkmsg" and text not in _DEVKMSG:
        raise KernelError(errno.EINVAL, f"kernel.{name} is one of: {', '.join(_DEVKMSG)}")
    kernel.sysctl.values[name] = text


def _printk_levels(kernel: KernelCore) -> list[int]:
    return [kernel.printk.console_loglevel, *kernel.sysctl["printk"]]


def _show_printk(kernel: KernelCore, task: Task) -> str:
    return "\t".join(map(str, _printk_levels(kernel))) + "\n"


def _write_printk(kernel: KernelCore, task: Task, data: bytes) -> None:
    """Console level, default level, minimum and default of the console level."""
    old = _printk_levels(kernel)
    given = numbers(data, len(old))
    levels = given + old[len(given) :]
    kernel.printk.console_loglevel, kernel.sysctl.values["printk"] = levels[0], levels[1:]


def _write_tainted(kernel: KernelCore, task: Task, data: bytes) -> None:
    """proc_taint() ORs the bits in and never clears one."""
    if not task.capable(CAP_SYS_ADMIN):
        raise KernelError(errno.EPERM, "setting taint flags needs CAP_SYS_ADMIN")
    (value,) = numbers(data)
    for flag in Taint:
        if value >> flag & 1:
            kernel.taint.add(flag)
