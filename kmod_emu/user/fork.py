"""fork(2) and its kin (kernel/fork.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel import signal as kernel_signal
from kmod_emu.kernel.activation import Block
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.user.entry import run_program
from kmod_emu.user.programs import Program, Programs
from kmod_emu.user.signals import SIGCHLD, refresh_ignored

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_VFORK = 0x100, 0x200, 0x400, 0x800, 0x4000
CLONE_PARENT, CLONE_THREAD, CLONE_SETTLS = 0x8000, 0x1_0000, 0x8_0000
CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x10_0000, 0x20_0000, 0x100_0000
_CSIGNAL = 0xFF
_CLONE_ARGS = struct.Struct(
    "<QQQQi4xQQQ"
)  # flags, pidfd, child_tid, parent_tid, exit_signal, stack, its size, tls
_CLONE_ARGS_SIZE = 256
_IGNORED = 0x4_0000 | 0x40_0000  # CLONE_SYSVSEM, CLONE_DETACHED
_SUPPORTED = (
    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK | CLONE_PARENT | CLONE_THREAD
    | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | _IGNORED
)  # fmt: skip


@syscall(57)
async def sys_fork(kernel: KernelCore) -> int:
    """A child that is a copy."""
    return await clone(kernel, SIGCHLD)


@syscall(58)
async def sys_vfork(kernel: KernelCore) -> int:
    """A child that borrows the memory until it runs another program."""
    return await clone(kernel, CLONE_VFORK | CLONE_VM | SIGCHLD)


@syscall(56)
async def sys_clone(
    kernel: KernelCore, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
) -> int:
    """A child or thread that shares what `flags` say."""
    return await clone(kernel, flags, stack, parent_tid, child_tid, tls)


async def clone(
    kernel: KernelCore, flags: int, stack: int = 0, parent_tid: int = 0, child_tid: int = 0, tls: int = 0
) -> int:
    """The child's pid; by way of the function kernel_clone() if somebody has a probe there."""
    function = kernel.symbols.address("kernel_clone")
    if function not in kernel.probes.hooks:
        return await _kernel_clone(kernel, flags, stack, parent_tid, child_tid, tls)
    args = kernel.heap.kmalloc(_CLONE_ARGS_SIZE)
    values = (flags & ~_CSIGNAL, 0, child_tid, parent_tid, flags & _CSIGNAL, stack, 0, tls)
    kernel.memory.write(args, _CLONE_ARGS.pack(*values))
    pid = await kernel.call_guest_int(function, args)
    kernel.heap.kfree(args)
    if pid < 0:
        raise KernelError(-pid)
    return pid


@export("pid_t kernel_clone(struct kernel_clone_args *args)", Fidelity.APPROXIMATE)
async def kernel_clone(kernel: KernelCore, args: int) -> int:
    """What fork, vfork and clone do (kernel/fork.c); of the arguments, those that 5.10 and 6.1 have first."""
    values = _CLONE_ARGS.unpack(kernel.memory.read(args, _CLONE_ARGS.size))
    flags, _, child_tid, parent_tid, exit_signal, stack, _, tls = values
    return await _kernel_clone(kernel, flags | exit_signal, stack, parent_tid, child_tid, tls)


async def _kernel_clone(
    kernel: KernelCore, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
) -> int:
    parent = kernel[Programs].current
    if (flags & CLONE_THREAD and not flags & CLONE_SIGHAND) or (
        flags & CLONE_SIGHAND and not flags & CLONE_VM
    ):
        raise KernelError(errno.EINVAL, "threads share signal handlers, and those share memory")
    if flags & 0xFFFF_FF00 & ~_SUPPORTED:
        raise KernelError(
            errno.EINVAL, f"namespaces and tracing (clone flags {flags:#x}) are not implemented"
        )
    child = copy_process(kernel, parent, flags)
    if not flags & CLONE_VM and child.task.mm is not None:
        for owner in dict.fromkeys(vma.owner for vma in child.task.mm.vmas if vma.owner is not None):
            await owner.copied()
    context = child.context
    context["rax"] = 0
    if stack:
        context["rsp"] = stack
    if flags & CLONE_SETTLS:
        context["fs_base"] = tls
    pid = child.task.pid
    if flags & CLONE_PARENT_SETTID:
        kernel.user.write(parent_tid, struct.pack("<I", pid))
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_tid = child_tid
    if flags & CLONE_CHILD_SETTID and child.task.mm is not None:
        child.task.mm.write(child_tid, struct.pack("<I", pid))
    kernel.events.emit("clone", parent=parent.task.pid, pid=pid, flags=flags)
    kernel.sched.start(child.task, run_program(kernel, child))
    if flags & CLONE_VFORK:
        child.group.parked = parent.task
        await Block()
    return pid


def copy_process(kernel: KernelCore, parent: Program, flags: int) -> Program:
    """A task that has what its parent has, copied or shared."""
    programs, old = kernel[Programs], parent.task
    thread = bool(flags & CLONE_THREAD)
    programs.check_limit()
    task = kernel.tasks.fork(old, thread=thread, share_memory=bool(flags & CLONE_VM))
    kernel[Vfs].fork(old, task, share_files=bool(flags & CLONE_FILES), share_fs=bool(flags & CLONE_FS))
    program = programs.add(
        task,
        programs.ring3.context(parent.context),
        parent.group if thread else None,
        parent.actions if flags & CLONE_SIGHAND else dict(parent.actions),
        parent.group.parent if flags & CLONE_PARENT else parent.group,
    )
    group = program.group
    if not thread:
        group.exit_signal = flags & 0xFF
        group.executable, group.arguments = parent.group.executable, parent.group.arguments
        group.limits = dict(parent.group.limits)
        if flags & CLONE_VM == 0 or flags & CLONE_VFORK:
            program.altstack = parent.altstack
    kernel_signal.set_blocked(kernel, task, kernel_signal.blocked(kernel, old))
    refresh_ignored(kernel, program)
    return program
