"""What the kernel says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

frontier = Frontier(__name__)

_LOG = "the log is the machine's, so that dmesg, the narrator and reports have it"
_LONGEST = 2048


@frontier.replace(
    "int vprintk_emit(int facility, int level, const void *dev_info, const char *fmt, va_list args)", _LOG
)
async def vprintk_emit(
    kernel: KernelCore, facility: int, level: int, dev_info: int, fmt: int, args: int
) -> int:
    """Log a message that the kernel's own vsnprintf() formats (kernel/printk/printk.c)."""
    buffer = kernel.heap.kmalloc(_LONGEST)
    length = await kernel.call_guest_int(kernel.symbol("vscnprintf"), buffer, _LONGEST, fmt, args)
    text = kernel.memory.read(buffer, length)
    kernel.heap.kfree(buffer)
    return kernel.printk.emit(text, level if level >= 0 else None)


frontier.nothing(_LOG, "setup_log_buf wake_up_klogd defer_console_output")
