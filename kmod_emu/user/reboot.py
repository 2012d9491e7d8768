"""The end of a machine that somebody asked for: reboot(2), and what modules call (kernel/reboot.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.notifier_chain import call_chain, chain_place
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_SYS_BOOT
from kmod_emu.user.programs import Exited, Programs
from kmod_emu.user.signals import SIGKILL, send

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_MAGIC = 0xFEE1_DEAD
_MAGIC2 = (672274793, 85072278, 369367448, 537993216)
_RESTART, _HALT, _POWER_OFF, _RESTART2 = 0x1234567, 0xCDEF0123, 0x4321FEDC, 0xA1B2C3D4
_CAD_OFF, _CAD_ON = 0, 0x89ABCDEF
SYS_RESTART, SYS_HALT, SYS_POWER_OFF = 1, 2, 3
_LONGEST_COMMAND = 255


async def _end(kernel: KernelCore, event: int, text: str, command: int = 0) -> NoReturn:
    """Tell the notifiers, say so, and end who runs and all programs."""
    await call_chain(kernel, chain_place(kernel, "reboot"), event, command)
    kernel.printk.emit(f"reboot: {text}\n", 0)
    for program in list(kernel[Programs].by_pid.values()):
        send(kernel, program.task, SIGKILL)
    raise Exited(0)


async def _restart(kernel: KernelCore, command: int) -> NoReturn:
    text = "Restarting system"
    if command:
        text += f" with command '{kernel.memory.read_text(command)}'"
    await _end(kernel, SYS_RESTART, text, command)


@syscall(169)
async def sys_reboot(kernel: KernelCore, magic1: int, magic2: int, cmd: int, arg: int = 0) -> int:
    """Restart, halt or switch off; the machine then has no programs any more."""
    cmd &= 0xFFFF_FFFF
    if not kernel.sched.current.capable(CAP_SYS_BOOT):
        raise KernelError(errno.EPERM, "only a process with CAP_SYS_BOOT may do that")
    if magic1 & 0xFFFF_FFFF != _MAGIC or magic2 & 0xFFFF_FFFF not in _MAGIC2:
        raise KernelError(errno.EINVAL, "the magic numbers are wrong")
    if cmd in (_CAD_OFF, _CAD_ON):
        return 0
    if cmd == _RESTART2:
        words = kernel.user.strndup(arg, _LONGEST_COMMAND + 1)
        command = kernel.heap.kmalloc(_LONGEST_COMMAND + 1)
        kernel.memory.write(command, words + b"\0")
        await _restart(kernel, command)
    if cmd == _RESTART:
        await _restart(kernel, 0)
    if cmd == _HALT:
        await _end(kernel, SYS_HALT, "System halted")
    if cmd == _POWER_OFF:
        await _end(kernel, SYS_POWER_OFF, "Power down")
    raise KernelError(errno.EINVAL, f"reboot(2) knows no command {cmd:#x}")


@export("void kernel_restart(char *cmd)", Fidelity.APPROXIMATE)
async def kernel_restart(kernel: KernelCore, cmd: int) -> None:
    """Restart the machine; drivers' shutdown functions are not called."""
    await _restart(kernel, cmd)


@export("void kernel_halt(void)", Fidelity.APPROXIMATE)
async def kernel_halt(kernel: KernelCore) -> None:
    """Halt the machine; drivers' shutdown functions are not called."""
    await _end(kernel, SYS_HALT, "System halted")


@export("void kernel_power_off(void)", Fidelity.APPROXIMATE)
async def kernel_power_off(kernel: KernelCore) -> None:
    """Switch the machine off; drivers' shutdown functions are not called."""
    await _end(kernel, SYS_POWER_OFF, "Power down")
