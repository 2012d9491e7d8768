"""System calls: programs enter the kernel's own functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.syscalls import Entry, call_function

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

MODULE_CALLS = 175, 176, 313  # init_module, delete_module, finit_module
_PREFIX = "__x64_sys_"
_MOST = 512  # entries of the table
_ARITY = 6


def system_calls(kernel: VmlinuxKernel) -> dict[int, Entry]:
    """What is in the kernel's sys_call_table, by number."""
    table, found = kernel.symbol("sys_call_table"), {}
    for number in range(_MOST):
        location = kernel.symbols.locate(kernel.memory.read_u64(table + 8 * number))
        if location is None or location.offset or not location.name.startswith(_PREFIX):
            break
        if location.name != f"{_PREFIX}ni_syscall":
            found[number] = _entry(number, location.name)
    return found


def _entry(number: int, symbol: str) -> Entry:
    async def enter(kernel: KernelCore, *arguments: int) -> int:
        return await call_function(kernel, number, symbol, arguments)

    return Entry(symbol.removeprefix(_PREFIX), enter, _ARITY, symbol)
