"""Guest code on the machine, with page permissions and traps in place, against bare Unicorn."""

from __future__ import annotations

from benchmarks.bare import CODE, DATA, SIZE, Bare
from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu.machine.asm import assemble
from kmod_emu.machine.cpu import Cpu, StopReason
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, Memory
from kmod_emu.machine.traps import build_tails

# Each runs RCX times; RDI points to data.
LOOPS = {
    "ALU": "again: add rax, rcx; xor rdx, rax; lea rbx, [rax + rdx*2]; shr rbx, 3; dec rcx; jnz again; hlt",
    "push and pop": "again: push rax; push rcx; pop rdx; pop rax; dec rcx; jnz again; hlt",
    "copy": "again: mov eax, ecx; and eax, 0xffff; mov rdx, [rdi + rax*8]; mov [rdi + rax*8 + 8], rdx; "
    "dec rcx; jnz again; hlt",
    "call": "again: call leaf; dec rcx; jnz again; hlt; leaf: lea rax, [rcx + 1]; ret",
}
_TURNS = 4_000_000


class Ours:
    """The same loop on our machine: two arenas, W^X, the trap area mapped."""

    def __init__(self, code: bytes) -> None:
        memory = Memory()
        memory.add_arena("data", DATA, SIZE)
        memory.add_arena("code", CODE, SIZE)
        traps, page = CODE + SIZE // 2, CODE + SIZE // 2 + 0x10000
        memory.protect(DATA, SIZE, READ | WRITE)
        memory.protect(CODE, SIZE // 2 + 0x10000, READ | EXEC)
        memory.protect(page, PAGE_SIZE, READ | WRITE)
        memory.write(CODE, code)
        memory.write(traps, build_tails(traps, page))
        self.cpu = Cpu(memory)

    def run(self, rcx: int) -> None:
        """As `Bare.run`."""
        self.cpu.write("rcx", rcx)
        self.cpu.write("rsp", DATA + SIZE - 0x1000)
        self.cpu.write("rdi", DATA)
        stop = self.cpu.run(CODE)
        assert stop.reason is StopReason.HALT, stop


def measure(effort: Effort) -> list[Row]:
    """Millions of turns a second for each loop."""
    rows = []
    turns = max(int(_TURNS * effort.scale), 1)
    for name, source in LOOPS.items():
        code = assemble(source, CODE)
        ours, bare = Ours(code), Bare(code)
        mine, reference = best(
            effort,
            lambda side=ours: seconds(lambda: side.run(turns)),  # type: ignore[misc]
            lambda side=bare: seconds(lambda: side.run(turns)),  # type: ignore[misc]
        )
        rows.append(Row(f"guest loop: {name}", "M/s", turns / mine / 1e6, turns / reference / 1e6, 0.9))
    return rows
