"""syslog(2) (kernel/printk/printk.c: do_syslog)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import as_int
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.kernel.tasks import CAP_SYS_ADMIN, CAP_SYSLOG
from kmod_emu.uapi import errno
from kmod_emu.user.arguments import give

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.logbuffer import LogBuffer
    from kmod_emu.kernel.printk import Printk

_CLOSE, _OPEN, _READ, _READ_ALL, _READ_CLEAR, _CLEAR, _OFF, _ON, _LEVEL, _UNREAD, _SIZE = range(11)
_BUFFER_SIZE = 1 << 17  # CONFIG_LOG_BUF_SHIFT


def _text(log: LogBuffer, size: int) -> bytes:
    """The newest records that fit, every line with its level and time."""
    parts: list[bytes] = []
    for record in reversed(log.readable()):
        seconds, rest = divmod(record.time_ns, NSEC_PER_SEC)
        head = b"<%d>[%5d.%06d] " % (record.level, seconds, rest // 1000)
        text = b"".join(head + line + b"\n" for line in record.text.split(b"\n"))
        size -= len(text)
        if size < 0:
            break
        parts.append(text)
    return b"".join(reversed(parts))


@syscall(103)
async def sys_syslog(kernel: KernelCore, kind: int, buf: int, length: int) -> int:
    """Read and control the kernel log."""
    task, printk, kind, size = kernel.sched.current, kernel.printk, as_int(kind), as_int(length)
    free = not kernel.sysctl["dmesg_restrict"] and kind in (_READ_ALL, _SIZE)
    if not free and not task.capable(CAP_SYSLOG) and not task.capable(CAP_SYS_ADMIN):
        raise KernelError(errno.EPERM, "kernel.dmesg_restrict is 1: only root reads the log")
    if kind in (_CLOSE, _OPEN):
        return 0
    if kind in (_READ, _READ_ALL, _READ_CLEAR):
        if not buf or size < 0:
            raise KernelError(errno.EINVAL)
        text = _text(printk, size)
        give(kernel, buf, text)
        if kind == _READ_CLEAR:
            printk.clear()
        return len(text)
    return _control(printk, kind, size)


def _control(printk: Printk, kind: int, value: int) -> int:
    """The kinds that take no buffer."""
    if kind == _UNREAD:
        return len(_text(printk, _BUFFER_SIZE))
    if kind == _SIZE:
        return _BUFFER_SIZE
    if kind == _CLEAR:
        printk.clear()
    elif kind == _OFF:
        printk.console_off()
    elif kind == _ON:
        printk.console_on()
    elif kind == _LEVEL and 1 <= value <= 8:
        printk.set_console_level(value)
    else:
        raise KernelError(errno.EINVAL)
    return 0
