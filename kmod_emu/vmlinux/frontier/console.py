"""What the kernel says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_LOG = "the console is the machine's log: dmesg, the narrator and reports have it"
_LONGEST = 2048
_VA_LIST = 24  # bytes of a va_list, which whoever formats with it uses up
_LEVEL_SCHED = -2


@frontier.replace(
    "int vprintk_emit(int facility, int level, const void *dev_info, const char *fmt, va_list args)", _LOG
)
async def vprintk_emit(
    kernel: VmlinuxKernel, facility: int, level: int, dev_info: int, fmt: int, args: int
) -> int:
    """A message for the kernel's own ring, which programs read, and for the log (kernel/printk/printk.c)."""
    call, memory = kernel.call_guest_int, kernel.memory
    await kernel.printk.catch_up()
    buffer = kernel.heap.kmalloc(_LONGEST)
    if not buffer:  # memory is used up: it is lost
        return 0
    copy = buffer + _LONGEST - _VA_LIST
    memory.write(copy, memory.read(args, _VA_LIST))
    default = -1 if level == _LEVEL_SCHED else level
    await call(kernel.symbol("vprintk_store"), facility, default, dev_info, fmt, copy)
    length = await call(kernel.symbol("vscnprintf"), buffer, _LONGEST, fmt, args)
    text = memory.read(buffer, length)
    kernel.heap.kfree(buffer)
    result = kernel.printk.heard(text, level if level >= 0 else None)
    await call(kernel.symbol("wake_up_klogd"))
    return result


frontier.nothing(_LOG, "defer_console_output")
