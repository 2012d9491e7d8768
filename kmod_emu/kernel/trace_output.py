"""How a trace reads: its head, and a line a record (kernel/trace/trace.c, trace_output.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.trace_seq import HANDLED, seq_init, seq_text
from kmod_emu.kernel.tracing import BH_OFF, HARDIRQ, IRQS_OFF, NMI, SOFTIRQ

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tracing import Record, TraceArray

_HEAD = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {kept}/{written}   #P:1
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


async def trace_text(kernel: KernelCore, array: TraceArray) -> bytes:
    """The file `trace`."""
    head = _HEAD.format(kept=len(array.records), written=array.written)
    return head.encode() + b"".join([await line(kernel, array, record) for record in list(array.records)])


async def line(kernel: KernelCore, array: TraceArray, record: Record) -> bytes:
    """One record."""
    comm = "<idle>" if not record.pid else record.comm
    micros = (record.time_ns + 500) // 1000
    time = f"{micros // 1_000_000:5}.{micros % 1_000_000:06}"
    context = f"{comm:>16}-{record.pid:<7} [000] {_latency(record)} {time}: "
    if record.call:
        text = await _event(kernel, array, record)
    else:
        text = f"{_function(kernel, record.place)}: ".encode() + record.data
    return context.encode("utf-8", "surrogateescape") + text


def _latency(record: Record) -> str:
    """Five characters for what was off and what was served (trace_print_lat_fmt)."""
    flags = record.flags
    both = flags & IRQS_OFF and flags & BH_OFF
    off = "D" if both else "d" if flags & IRQS_OFF else "b" if flags & BH_OFF else "."
    if flags & NMI:
        served = "Z" if flags & HARDIRQ else "z"
    elif flags & HARDIRQ:
        served = "H" if flags & SOFTIRQ else "h"
    else:
        served = "s" if flags & SOFTIRQ else "."
    return f"{off}.{served}{f'{record.preempt:x}' if record.preempt else '.'}."


def _function(kernel: KernelCore, place: int | str) -> str:
    if isinstance(place, str):
        return place
    location = kernel.locate(place)
    return location.name if location else f"{place:#x}"


async def _event(kernel: KernelCore, array: TraceArray, record: Record) -> bytes:
    """What the event's own function prints."""
    call = kernel.view("trace_event_call", record.call)
    event = kernel.view("trace_event", call.addressof("event"))
    size = kernel.profile.struct("trace_iterator").size
    memory = kernel.vmalloc.allocate(size + len(record.data))
    kernel.memory.write(memory + size, record.data)
    iterator = kernel.view("trace_iterator", memory)
    iterator.tr, iterator.ent, iterator.ent_size = array.address, memory + size, len(record.data)
    iterator.ts, iterator.cpu = record.time_ns, 0
    seq = kernel.view("trace_seq", iterator.addressof("seq"))
    seq_init(kernel, seq)
    seq_init(kernel, kernel.view("trace_seq", iterator.addressof("tmp_seq")))
    trace = kernel.view("trace_event_functions", event.funcs).trace
    answer = await kernel.call_guest_int(trace, memory, 0, event.address)
    text = seq_text(kernel, seq) if answer == HANDLED else b""
    kernel.vmalloc.free(memory)
    return text
