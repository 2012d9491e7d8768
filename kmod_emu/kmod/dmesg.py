"""dmesg: the kernel log (util-linux 2.38, sys-utils/dmesg.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.printk import Record, stamp

if TYPE_CHECKING:
    from kmod_emu.api import Kernel


def dmesg(kernel: Kernel, *, raw: bool = False, notime: bool = False) -> str:
    """The log's lines.

    Args:
        kernel: The machine.
        raw: With `<level>` in front, as the buffer has it.
        notime: Without time stamps.
    """
    return "".join(_lines(record, raw, notime) for record in kernel.printk.readable())


def _lines(record: Record, raw: bool, notime: bool) -> str:
    head = f"<{record.level}>" if raw else ""
    if not notime:
        head += f"{stamp(record)} "
    return "".join(f"{head}{line}\n" for line in record.lines())
