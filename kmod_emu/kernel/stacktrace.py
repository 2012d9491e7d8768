"""Return addresses as numbers, for those who keep them (kernel/stacktrace.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel import report
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.unwind import call_trace

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore


@export("unsigned int stack_trace_save(unsigned long *store, unsigned int size, unsigned int skipnr)")
def stack_trace_save(kernel: KernelCore, store: int, size: int, skipnr: int) -> int:
    """The callers, innermost first (kernel/stacktrace.c)."""
    frames = [frame.address for frame in call_trace(kernel, kernel.sched.current) if frame.reliable]
    kept = frames[skipnr : skipnr + size]
    for number, address in enumerate(kept):
        kernel.memory.write_u64(store + 8 * number, address)
    return len(kept)


def _lines(kernel: KernelCore, entries: int, nr_entries: int, spaces: int) -> list[str]:
    places = (kernel.memory.read_u64(entries + 8 * number) for number in range(nr_entries))
    return [f"{'':{max(spaces + 1, 1)}}{kernel.describe(place)}" for place in places]


@export("void stack_trace_print(const unsigned long *entries, unsigned int nr_entries, int spaces)")
def stack_trace_print(kernel: KernelCore, entries: int, nr_entries: int, spaces: int) -> None:
    """Print what was saved, a line an address (kernel/stacktrace.c)."""
    for line in _lines(kernel, entries, nr_entries, spaces):
        kernel.printk.emit(f"{line}\n", 4)


@export(
    "int stack_trace_snprint(char *buf, size_t size, const unsigned long *entries, unsigned int nr_entries,"
    " int spaces)"
)
def stack_trace_snprint(
    kernel: KernelCore, buf: int, size: int, entries: int, nr_entries: int, spaces: int
) -> int:
    """The same into a buffer; what does not fit is cut (kernel/stacktrace.c)."""
    text = "".join(f"{line}\n" for line in _lines(kernel, entries, nr_entries, spaces)).encode()
    kept = text[: max(size - 1, 0)]
    if size:
        kernel.memory.write(buf, kept + b"\0")
    return min(size, len(text))


@export("void dump_stack_lvl(const char *log_lvl)")
def dump_stack_lvl(kernel: KernelCore, log_lvl: str) -> None:
    """dump_stack() at a level (lib/dump_stack.c)."""
    level = int(log_lvl[1:2]) if log_lvl[1:2].isdigit() else 4
    lines = report.stack_lines(kernel, kernel.sched.current)
    kernel.printk.say([(level, text) for _, text in lines])
