"""The ways into a kernel and back to ring 3, which differ from one release to the next (kernel/entry/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kmod_emu.vmlinux.kernel import VmlinuxKernel

# TIF_* in thread_info.flags. Since all architectures share their numbers rseq has a flag, and a slow path.
_SHARED = "__rseq_handle_slowpath"
_WORK = 1 << 1 | 1 << 2 | 1 << 11 | 1 << 12 | 1 << 17 | 1 << 19
_SHARED_WORK = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 11
_FLOATING, _SHARED_FLOATING = 1 << 14, 1 << 19
_WATCHED = 1 << 0 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 28  # where there is no member syscall_work
_LOADER = frozenset((175, 176, 313))  # init_module and its kin, which Python may serve
_ARGUMENTS = ("di", "si", "dx", "r10", "r8", "r9")
_MASK64 = (1 << 64) - 1


class Entry:
    """What a kernel does on the way in and on the way back.

    Attributes:
        floating: The flag of a task whose x87 and SSE registers are not in the processor.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        has = kernel.symbols.internal
        shared = bool(has(_SHARED))
        self._work = _SHARED_WORK if shared else _WORK
        self.floating = _SHARED_FLOATING if shared else _FLOATING
        self._whole = not has("syscall_enter_from_user_mode")
        self._inlined = not has("irqentry_exit_to_user_mode")
        members = kernel.profile.struct("thread_info").members
        work = members.get("syscall_work")
        self._watched = (8 * work.offset, (1 << 8 * work.size) - 1) if work is not None else (0, _WATCHED)

    def watched(self, task: int) -> bool:
        """Whether somebody watches a task's system calls: ptrace, seccomp."""
        shift, mask = self._watched
        return bool(int.from_bytes(self._kernel.memory.read(task, 16), "little") >> shift & mask)

    async def watched_call(
        self, regs: int, number: int, call: Callable[[int, tuple[int, ...]], Awaitable[int]]
    ) -> int:
        """A system call that somebody watches, who may change it, let it not happen, and see its result.

        Args:
            regs: Address of the program's struct pt_regs, which gets the result.
            number: What the program asked for.
            call: Does a system call that has been let through.
        """
        kernel = self._kernel
        view = kernel.view("pt_regs", regs)
        if self._whole and number not in _LOADER:  # watching is compiled into it
            await kernel.call_guest(kernel.symbol("do_syscall_64"), regs, number)
            return _signed(view.ax)
        if not self._whole:
            number = await kernel.call_guest(kernel.symbol("syscall_enter_from_user_mode"), regs, number)
        if number >> 63:
            return _signed(view.ax)
        result = await call(number & 0xFFFF_FFFF, tuple(view.get(name) for name in _ARGUMENTS))
        view.ax = result & _MASK64
        if not self._whole:
            await kernel.call_guest(kernel.symbol("syscall_exit_to_user_mode"), regs)
        return result

    async def leave(self, task: int, regs: int) -> int:
        """Signals and all else that is done on the way to ring 3; the flags of the task then."""
        kernel = self._kernel
        while (flags := kernel.memory.read_u64(task)) & self._work:
            if self._inlined:
                await kernel.call_guest(kernel.symbol("exit_to_user_mode_loop"), regs, flags)
            else:
                await kernel.call_guest(kernel.symbol("irqentry_exit_to_user_mode"), regs)
        return flags


def _signed(value: int) -> int:
    return value - (value >> 63 << 64)
