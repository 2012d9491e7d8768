"""The system call table: which coroutine serves which number (arch/x86/entry/syscalls/syscall_64.tbl).

Each is also a function of the kernel, `__x64_sys_NAME`, and is called as one while there is a probe on it.
The guest's `sys_call_table` names them, but nothing is called through it: Linux does not either since it
defends itself against branch history injection, as Debian's 6.1 does. Who changes the table changes nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.clock import SYSCALL_NS
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.machine.memory import PAGE_SIZE, READ
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

    SystemCall = Callable[..., Coroutine[Any, Any, int]]

_MASK64 = (1 << 64) - 1
_ARGUMENTS = ("di", "si", "dx", "r10", "r8", "r9")
_MAX_ERRNO = 4095
_NR_SYSCALLS = 452


class Entry(NamedTuple):
    """One system call."""

    name: str
    function: SystemCall
    arity: int
    symbol: str


_table: dict[int, Entry] = {}  # filled while modules are imported, constant afterwards
_numbers: dict[str, int] = {}  # likewise


def syscall(number: int) -> Callable[[SystemCall], SystemCall]:
    """Register the decorated coroutine function `sys_NAME` under its number."""

    def register(function: SystemCall) -> SystemCall:
        entry = _table[number] = make_entry(function)
        _define(entry)
        _numbers[entry.name] = number
        return function

    return register


def make_entry(function: SystemCall) -> Entry:
    """The table's entry for a coroutine function `sys_NAME`."""
    arity = function.__code__.co_argcount - 1  # behind the kernel
    name = function.__name__.removeprefix("sys_")
    return Entry(name, function, arity, f"__x64_sys_{name}")


def _define(entry: Entry) -> None:
    @export(f"long {entry.symbol}(const struct pt_regs *regs)")
    async def call(kernel: KernelCore, regs: StructView) -> int:
        """The system call, with its arguments in the registers of user space."""
        return await entry.function(kernel, *(regs.get(name) for name in _ARGUMENTS[: entry.arity]))


@export("long __x64_sys_ni_syscall(const struct pt_regs *regs)")
def ni_syscall(kernel: KernelCore, regs: int) -> int:
    """What is not implemented (kernel/sys_ni.c)."""
    return -errno.ENOSYS


@export_data("const sys_call_ptr_t sys_call_table[]", PAGE_SIZE)
def sys_call_table(kernel: KernelCore, address: int) -> None:
    """The functions by number, read-only (arch/x86/entry/syscall_64.c)."""
    functions = [kernel.symbols.address("__x64_sys_ni_syscall")] * _NR_SYSCALLS
    for number, entry in _table.items():
        functions[number] = kernel.symbols.address(entry.symbol)
    kernel.memory.write(address, struct.pack(f"<{_NR_SYSCALLS}Q", *functions))
    kernel.memory.protect(address, PAGE_SIZE, READ)


def number_of(name: str, kernel: KernelCore | None = None) -> int:
    """Number of an implemented system call, or one that only `kernel` has; LookupError if there is none."""
    for number, entry in kernel.own_syscalls.items() if kernel is not None else ():
        if entry.name == name:
            return number
    if name in _numbers:
        return _numbers[name]
    raise LookupError(
        f"no system call {name!r}; there are: {', '.join(sorted(e.name for e in _table.values()))}"
    )


def name_of(number: int) -> str | None:
    """Name of a system call by its number, None if it is not implemented."""
    entry = _table.get(number)
    return entry.name if entry else None


def parameters_of(name: str) -> tuple[str, ...]:
    """What the arguments of a system call are called; numbers, where only a distribution has it."""
    if name not in _numbers:
        return tuple(f"arg{number}" for number in range(1, 7))
    code = _table[number_of(name)].function.__code__
    return code.co_varnames[1 : code.co_argcount]


async def do_syscall(kernel: KernelCore, number: int, arguments: tuple[int, ...]) -> int:
    """Enter the kernel: the system call's result, or a KernelError (ENOSYS for an unknown number)."""
    own = kernel.own_syscalls.get(number)
    entry = own or _table.get(number)
    kernel.clock.advance(SYSCALL_NS)
    kernel.panics.check()
    if entry is None:
        raise KernelError(errno.ENOSYS, f"system call {number} is not implemented")
    arguments = arguments[: entry.arity]
    if kernel.events:
        kernel.events.emit("syscall", name=entry.name, arguments=arguments)
    task = kernel.sched.current
    try:
        hooks = kernel.probes.hooks
        if hooks and own is None and kernel.symbols.address(entry.symbol) in hooks:
            result = await call_function(kernel, number, entry.symbol, arguments)
        else:
            result = await entry.function(kernel, *(argument & _MASK64 for argument in arguments))
    except Killed:
        raise
    except KernelError as error:
        _leave(kernel, task, entry, -error.errno)
        raise
    _leave(kernel, task, entry, result)
    return result


def _leave(kernel: KernelCore, task: Task, entry: Entry, result: int) -> None:
    """On the way back to user space."""
    if kernel.events:
        kernel.events.emit("syscall_exit", name=entry.name, result=result)
    kernel.lockdep.check_idle(task, "on return to user space")


async def call_function(kernel: KernelCore, number: int, symbol: str, arguments: tuple[int, ...]) -> int:
    """As do_syscall_64() does, with the registers of user space at the top of the kernel's stack."""
    regs = kernel.view("pt_regs", kernel.sched.current.stack_top)
    for name, argument in zip(_ARGUMENTS, arguments, strict=False):
        regs.set(name, argument & _MASK64)
    regs.orig_ax = number
    result = await kernel.call_guest(kernel.symbols.address(symbol), regs.address)
    result -= result >> 63 << 64
    if -_MAX_ERRNO <= result < 0:
        raise KernelError(-result)
    return result
