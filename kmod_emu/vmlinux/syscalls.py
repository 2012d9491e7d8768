"""System calls: programs enter the kernel's own functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.syscalls import Entry, call_function, make_entry
from kmod_emu.module.load import Copy
from kmod_emu.module.syscalls import check_flags, load_copy, may_init_module
from kmod_emu.vmlinux.own_loader import load, remove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_INIT_MODULE, _DELETE_MODULE, _FINIT_MODULE = 175, 176, 313
_READING_MODULE = 2  # enum kernel_read_file_id
_INT_MAX = (1 << 31) - 1
_PREFIX = "__x64_sys_"
_NAMES = {
    "newstat": "stat",
    "newfstat": "fstat",
    "newlstat": "lstat",
    "newuname": "uname",
    "sendfile64": "sendfile",
}
_MOST = 512  # entries of the table
_ARITY = 6


def functions(kernel: VmlinuxKernel) -> list[tuple[int, str]]:
    """What is in the kernel's sys_call_table: numbers and symbols."""
    table, found = kernel.symbol("sys_call_table"), []
    for number in range(_MOST):
        location = kernel.symbols.locate(kernel.memory.read_u64(table + 8 * number))
        if location is None or location.offset or not location.name.startswith(_PREFIX):
            break
        if location.name != f"{_PREFIX}ni_syscall":
            found.append((number, location.name))
    return found


def system_calls(functions: Iterable[tuple[int, str]], *, own_loader: bool) -> dict[int, Entry]:
    """System calls by number.

    Args:
        functions: As above.
        own_loader: Whether the kernel's own code loads and removes modules, too.
    """
    found = {number: _entry(number, name) for number, name in functions}
    if not own_loader:
        del found[_INIT_MODULE], found[_DELETE_MODULE]
        found[_FINIT_MODULE] = make_entry(sys_finit_module)
        return found
    for number in (_INIT_MODULE, _FINIT_MODULE, _DELETE_MODULE):
        found[number] = _told(found[number], removes=number == _DELETE_MODULE)
    return found


def _told(entry: Entry, *, removes: bool) -> Entry:
    """An entry that tells of modules what it does with them."""

    async def enter(kernel: KernelCore, *arguments: int) -> int:
        call = entry.function(kernel, *arguments)
        return await (remove(kernel, call, *arguments[:2]) if removes else load(kernel, call))

    return entry._replace(function=enter)


def _entry(number: int, symbol: str) -> Entry:
    async def enter(kernel: KernelCore, *arguments: int) -> int:
        try:
            result = await call_function(kernel, number, symbol, arguments)
        except Killed:  # there is no way back
            raise
        except KernelError:
            await _exit_to_user_mode(kernel)
            raise
        await _exit_to_user_mode(kernel)
        return result

    name = symbol.removeprefix(_PREFIX)
    return Entry(_NAMES.get(name, name), enter, _ARITY, symbol)


async def _exit_to_user_mode(kernel: KernelCore) -> None:
    """What the kernel put off to the way back: the last steps of closing files (kernel/entry/common.c)."""
    task = kernel.view("task_struct", kernel.sched.current.address)
    if task.task_works:
        await kernel.call_guest(kernel.symbol("task_work_run"))


async def sys_finit_module(kernel: KernelCore, fd: int, uargs: int, flags: int) -> int:
    """Load a module from a file that the kernel reads; the rest is as for any other."""
    may_init_module(kernel)
    flags &= 0xFFFF_FFFF
    check_flags(kernel, flags)
    pointer = kernel.heap.kmalloc(8)
    size = await kernel.call_guest_int(
        kernel.symbol("kernel_read_file_from_fd"), fd, 0, pointer, _INT_MAX, 0, _READING_MODULE
    )
    address = kernel.memory.read_u64(pointer)
    kernel.heap.kfree(pointer)
    if size < 0:
        raise KernelError(-size, "the module's file cannot be read")
    kernel.events.emit("copy_module_from_user", address=address, size=size, source=None)
    return await load_copy(kernel, Copy(address, size), uargs, flags)
