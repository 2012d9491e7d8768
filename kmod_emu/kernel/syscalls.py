"""The system call table: which coroutine serves which number (arch/x86/entry/syscalls/syscall_64.tbl)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.clock import SYSCALL_NS
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.kernel.kernel import KernelCore

    SystemCall = Callable[..., Coroutine[Any, Any, int]]

_MASK64 = (1 << 64) - 1


class Entry(NamedTuple):
    """One system call."""

    name: str
    function: SystemCall
    arity: int


_table: dict[int, Entry] = {}  # filled while modules are imported, constant afterwards
_numbers: dict[str, int] = {}  # likewise


def syscall(number: int) -> Callable[[SystemCall], SystemCall]:
    """Register the decorated coroutine function `sys_NAME` under its number."""

    def register(function: SystemCall) -> SystemCall:
        arity = function.__code__.co_argcount - 1  # behind the kernel
        name = function.__name__.removeprefix("sys_")
        _table[number] = Entry(name, function, arity)
        _numbers[name] = number
        return function

    return register


def number_of(name: str) -> int:
    """Number of an implemented system call; LookupError if there is none of that name."""
    number = _numbers.get(name)
    if number is not None:
        return number
    raise LookupError(
        f"no system call {name!r}; there are: {', '.join(sorted(e.name for e in _table.values()))}"
    )


def name_of(number: int) -> str | None:
    """Name of a system call by its number, None if it is not implemented."""
    entry = _table.get(number)
    return entry.name if entry else None


async def do_syscall(kernel: KernelCore, number: int, arguments: tuple[int, ...]) -> int:
    """Enter the kernel: the system call's result, or a KernelError (ENOSYS for an unknown number)."""
    entry = _table.get(number)
    kernel.clock.advance(SYSCALL_NS)
    if entry is None:
        raise KernelError(errno.ENOSYS, f"system call {number} is not implemented")
    arguments = arguments[: entry.arity]
    kernel.events.emit("syscall", name=entry.name, arguments=arguments)
    task = kernel.sched.current
    try:
        result = await entry.function(kernel, *(argument & _MASK64 for argument in arguments))
    except Killed:
        raise
    except KernelError:
        kernel.lockdep.check_idle(task, "on return to user space")
        raise
    kernel.lockdep.check_idle(task, "on return to user space")
    return result
