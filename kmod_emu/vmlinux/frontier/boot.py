"""The boot: what start_kernel() finds, the initcalls, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.activation import Away
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.vmlinux import own_loader
from kmod_emu.vmlinux.frontier.table import Frontier

if TYPE_CHECKING:
    from kmod_emu.kernel.vsprintf import Arguments
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_FIRMWARE = "no firmware has left a memory map, a command line or tables"
_INITCALLS = "each is told of with its result and time; those of absent hardware are left out"
_END = "the machine is booted when the kernel would start the first program"


@frontier.replace("void setup_arch(char **cmdline_p)", _FIRMWARE)
async def setup_arch(kernel: VmlinuxKernel, cmdline_p: int) -> None:
    """What is known of processor and memory (arch/x86/kernel/setup.c)."""
    await kernel.boot.setup_arch(cmdline_p)


@frontier.replace("int do_one_initcall(void *fn)", _INITCALLS)
async def do_one_initcall(kernel: VmlinuxKernel, fn: int) -> int:
    """One initcall, or the init of a module that the kernel's own code loads (init/main.c)."""
    return await (own_loader.init(kernel, fn) if kernel.boot.finished else kernel.boot.initcall(fn))


@frontier.replace("int run_init_process(const char *init_filename)", _END)
def run_init_process(kernel: VmlinuxKernel, init_filename: int) -> int:
    """The first task has done its work and sleeps from here on (init/main.c)."""
    kernel.printk.emit(b"Run %s as init process\n" % kernel.memory.read_cstring(init_filename), 6)
    kernel.boot.finished = True
    kernel.sched.leave(Away.ASLEEP)
    return 0


@frontier.replace(
    "void panic(const char *fmt, ...)", "a panic ends the machine: that is told, and nothing spins for ever"
)
def panic(kernel: VmlinuxKernel, fmt: bytes, args: Arguments) -> None:
    """The machine stops for good (kernel/panic.c)."""
    kernel.panics.panic(vsnprintf(fmt, args, kernel.format_context).decode("utf-8", "replace"))
