"""A debugged machine: what it costs that a debugger is attached and idle, and going back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu.api import Kernel
from kmod_emu.debug.debugger import Debugger
from kmod_emu.machine.asm import assemble
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ

if TYPE_CHECKING:
    from collections.abc import Callable

# Each runs RDI times. The second calls a function that Python serves.
_LOOPS = {
    "ALU": "again: add rax, rdi; xor rdx, rax; lea rcx, [rax + rdx*2]; shr rcx, 3; dec rdi; jnz again; ret",
    "calls": "push rbx; mov rbx, rdi; again: call {leaf:#x}; dec rbx; jnz again; pop rbx; ret",
}
_TURNS = {"ALU": 30_000_000, "calls": 100_000}  # the first runs longer than the scheduler's patience
_INSTRUCTIONS = 1_000_000
_BACK_MS = 50


def _function(kernel: Kernel, source: str) -> int:
    """Put a function into the module area."""
    address = kernel.module_area.allocate(PAGE_SIZE)
    kernel.memory.protect(address, PAGE_SIZE, READ | EXEC)
    leaf = kernel.symbol("ktime_get_coarse_with_offset")
    kernel.memory.write(address, assemble(source.format(leaf=leaf), address))
    return address


def measure(effort: Effort) -> list[Row]:
    """Speed with a debugger attached as a multiple of that without; milliseconds of one reverse-stepi."""
    rows = []
    for name, source in _LOOPS.items():
        kernel = Kernel()
        address, turns = _function(kernel, source), max(int(_TURNS[name] * effort.scale), 1)
        work = _caller(kernel, address, turns)
        debugger = Debugger(kernel)

        def attached(debugger: Debugger = debugger, work: Callable[[], int] = work) -> float:
            took = seconds(lambda: debugger.start_work(work))
            debugger.close()
            return took

        mine, reference = best(effort, attached, lambda work=work: seconds(work))  # type: ignore[misc]
        label = f"debugger attached: {name}"
        rows.append(Row(label, "M/s", turns / mine / 1e6, turns / reference / 1e6, 0.9))
    rows.append(Row("reverse-stepi at 1 M instructions", "ms", _back(effort), None, _BACK_MS, at_most=True))
    return rows


def _caller(kernel: Kernel, address: int, turns: int) -> Callable[[], int]:
    return lambda: kernel.call(address, turns)


def _back(effort: Effort) -> float:
    kernel = Kernel()
    address = _function(kernel, "again: inc rax; dec rdi; jnz again; ret")
    turns = max(int(_INSTRUCTIONS * effort.scale) // 3, 2)
    debugger = Debugger(kernel)
    debugger.break_at(address, temporary=True)
    debugger.start_work(_caller(kernel, address, turns))
    debugger.break_at(address + 8)
    debugger.continue_()
    debugger.reverse_stepi()
    (took,) = best(effort, lambda: seconds(debugger.reverse_stepi))
    debugger.close()
    return took * 1000
