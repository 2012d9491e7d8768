"""A task's registers as `struct pt_regs`, for code that looks at them and changes them (asm/ptrace.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_KERNEL_CS, _KERNEL_DS = 0x10, 0x18
# Register -> member of struct pt_regs.
_MEMBERS = {"rax": "ax", "rbx": "bx", "rcx": "cx", "rdx": "dx", "rsi": "si", "rdi": "di", "rbp": "bp",
            "r8": "r8", "r9": "r9", "r10": "r10", "r11": "r11", "r12": "r12", "r13": "r13", "r14": "r14",
            "r15": "r15", "eflags": "flags"}  # fmt: skip


def fill(kernel: KernelCore, regs: StructView, rip: int) -> None:
    """Write the processor's registers, with RIP at a place, into a struct."""
    registers = kernel.cpu.registers()
    for register, member in _MEMBERS.items():
        regs.set(member, registers[register])
    regs.ip, regs.sp, regs.orig_ax = rip, registers["rsp"], (1 << 64) - 1
    regs.cs, regs.ss = _KERNEL_CS, _KERNEL_DS


def apply(kernel: KernelCore, regs: StructView) -> None:
    """Give the processor what the struct holds, but RIP: that is the caller's."""
    for register, member in _MEMBERS.items():
        kernel.cpu.write(register, regs.get(member))
    kernel.cpu.write("rsp", regs.sp)
