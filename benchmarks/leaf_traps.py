"""Calls of a Python export from guest code, against the least that such a call can cost."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from benchmarks.bare import ARGUMENTS, CODE, Bare
from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel
from kmod_emu.machine.asm import assemble
from kmod_emu.machine.memory import EXEC, READ
from kmod_emu.machine.traps import RESULT, TrapArea, build_tails

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_CALLS = 300_000
_LOOP = (
    "push rbx; mov rbx, {count}; again: mov edi, ebx; mov esi, 5; mov rax, {target}; call rax; "
    "dec rbx; jnz again; pop rbx; {end}"
)


def kernel_side(calls: int) -> tuple[Kernel, int]:
    """A machine with an export of two ints, and the guest function that calls it so many times."""
    kernel = Kernel()

    @kernel.export("int bench_add(int a, int b)")
    def bench_add(kernel: KernelCore, a: int, b: int) -> int:
        return a + b

    place = kernel.module_area.allocate(4096, READ | EXEC)
    source = _LOOP.format(count=calls, target=hex(kernel.symbol("bench_add")), end="ret")
    kernel.memory.write(place, assemble(source, place))
    return kernel, place


def bare_side(calls: int) -> Bare:
    """The same trap and the same arguments, with a handler that knows them."""
    traps = CODE + 0x1000
    tails = build_tails(traps, ARGUMENTS)
    area = TrapArea(traps, tails)
    code = assemble(_LOOP.format(count=calls, target=hex(area.address(1)), end="hlt"), CODE)
    bare = Bare(code)
    bare.view[0x1000 : 0x1000 + len(tails)] = tails
    slot = area.address(1) - CODE
    bare.view[slot : slot + 16] = area.slot(1)
    arguments = bare.view[ARGUMENTS - CODE :]
    unpack, pack = struct.Struct("<i4xi4x").unpack_from, struct.Struct("<q").pack_into

    def handler(value: int) -> None:
        a, b = unpack(arguments)
        pack(arguments, RESULT, a + b)

    bare.on_out(handler)
    return bare


def measure(effort: Effort) -> list[Row]:
    """Thousands of calls a second."""
    calls = max(int(_CALLS * effort.scale), 1)
    (kernel, place), bare = kernel_side(calls), bare_side(calls)
    mine, reference = best(
        effort, lambda: seconds(lambda: kernel.call(place)), lambda: seconds(lambda: bare.run(0))
    )
    return [Row("calls of a Python export", "k/s", calls / mine / 1e3, calls / reference / 1e3, 0.6)]
