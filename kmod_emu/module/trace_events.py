"""Trace events of modules: what TRACE_EVENT() makes (kernel/trace/trace_events.c).

Each event has a probe of the module's that fills an entry and a function that prints it. Enabling an event in
an array registers the probe with the array's struct trace_event_file.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.trace_seq import TRACEPOINT, event_name
from kmod_emu.module.modules import ModuleState
from kmod_emu.module.tracepoint import (
    trace_module_has_bad_taint,
    tracepoint_module_notify,
    tracepoint_probe_register,
    tracepoint_probe_unregister,
)
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tracing import TraceArray
    from kmod_emu.module.modules import Module

_FIRST_TYPE = 1338  # numbers below are those of the events that Debian's 6.1 has itself
_REGISTER, _UNREGISTER = 0, 1  # enum trace_reg
_ENABLED, _WAS_ENABLED = 1 << 0, 1 << 10  # EVENT_FILE_FL_*
_QUOTED, _NAME, _LIMIT = re.compile(r'("(?:\\.|[^"\\])*")'), re.compile(r"\b[A-Za-z_]\w*"), 1 << 16
_ALIGNMENT = 4  # of records in the ring, RB_ALIGNMENT
_HELD = 1  # a tracepoint raises the preemption count while it calls probes


class TraceEvents:
    """All events of modules.

    Attributes:
        calls: Addresses of their struct trace_event_call, the newest first, as the kernel lists them.
        formats: What they print, as written in the source: TP_printk()'s arguments.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.calls: list[int] = []
        self.formats: dict[int, str] = {}
        self._types: set[int] = set()
        kernel.tracing.instance_made = self._add_files
        kernel.tracing.instance_gone = self._drop_array

    # --- names --------------------------------------------------------------------------------------

    def view(self, call: int) -> StructView:
        """A struct trace_event_call."""
        return self._kernel.view("trace_event_call", call)

    def name(self, call: int) -> str:
        """Of an event."""
        return event_name(self._kernel, self.view(call))

    def event_class(self, call: int) -> StructView:
        """Its struct trace_event_class."""
        return self._kernel.view("trace_event_class", self.view(call).get("class"))

    def system(self, call: int) -> str:
        """The directory that it is in."""
        return self._kernel.memory.read_text(self.event_class(call).system)

    def matching(self, system: str | None, event: str | None, match: str | None = None) -> list[int]:
        """Events by patterns; `match` may be of the system or of the event."""

        def fits(text: str, pattern: str | None) -> bool:
            return pattern is None or fnmatch.fnmatchcase(text, pattern)

        found = []
        for call in self.calls:
            own, its = self.name(call), self.system(call)
            if fits(its, system) and fits(own, event) and (fits(own, match) or fits(its, match)):
                found.append(call)
        return found

    # --- modules --------------------------------------------------------------------------------------

    async def coming(self, module: Module) -> None:
        """A module's tables are read (trace_module_add_events)."""
        kernel, view = self._kernel, module.view
        if view.num_trace_events and trace_module_has_bad_taint(module):
            kernel.printk.emit(f"{module.name}: module has bad taint, not creating trace events\n", 3)
        elif view.num_trace_events:
            for position in range(view.num_trace_events):
                await self._add(module, kernel.memory.read_u64(view.trace_events + 8 * position))
        if view.num_trace_bprintk_fmt:
            kernel.tracing.prepare_printing()
        await tracepoint_module_notify(kernel, module, ModuleState.COMING)

    async def _add(self, module: Module, call: int) -> None:
        kernel, view = self._kernel, self.view(call)
        init = self.event_class(call).raw_init
        result = await kernel.call_guest_int(init, call) if init else 0
        if result < 0:
            if result != -errno.ENOSYS:
                name = self.name(call)
                kernel.printk.emit(f"Could not initialize trace events/{name}\n", 4)
            return
        view.module = module.address
        self.calls.insert(0, call)
        self.formats[call] = self._format(module, call)
        for array in kernel.tracing.arrays:
            self._add_file(array, call)

    def _format(self, module: Module, call: int) -> str:
        """With numbers for the names that TRACE_DEFINE_ENUM() told of, which are gone after init."""
        kernel, values = self._kernel, {}
        for position in range(module.view.num_trace_evals):
            address = kernel.memory.read_u64(module.view.trace_evals + 8 * position)
            value = kernel.view("trace_eval_map", address)
            if kernel.memory.read_text(value.system) == self.system(call):
                values[kernel.memory.read_text(value.eval_string)] = str(value.signed("eval_value"))
        pieces = _QUOTED.split(kernel.memory.read_text(self.view(call).print_fmt, _LIMIT))
        for position in range(0, len(pieces), 2):  # what is not quoted
            pieces[position] = _NAME.sub(lambda name: values.get(name[0], name[0]), pieces[position])
        return "".join(pieces)

    async def going(self, module: Module) -> None:
        """Its events end; what was recorded is forgotten if one of them was ever recorded."""
        tracing = self._kernel.tracing
        used = False
        for call in [call for call in self.calls if self.view(call).module == module.address]:
            for array in tracing.arrays:
                file = self._file(array, call)
                used = used or bool(file.flags & _WAS_ENABLED)
                await self.enable(array, call, on=False)
                self._kernel.heap.kfree(array.files.pop(call))
            self._types.discard(self._kernel.view("trace_event", self.view(call).addressof("event")).type)
            self.calls.remove(call)
            del self.formats[call]
        if used:
            for array in tracing.arrays:
                array.clear()
        await tracepoint_module_notify(self._kernel, module, ModuleState.GOING)

    def new_type(self) -> int:
        """A number for an event's records."""
        number = _FIRST_TYPE
        while number in self._types:
            number += 1
        self._types.add(number)
        return number

    # --- files ------------------------------------------------------------------------------------------

    def _add_files(self, array: TraceArray) -> None:
        for call in self.calls:
            self._add_file(array, call)

    def _add_file(self, array: TraceArray, call: int) -> None:
        address = self._kernel.heap.kmalloc(self._kernel.profile.struct("trace_event_file").size)
        file = self._kernel.view("trace_event_file", address)
        file.event_call, file.tr = call, array.address
        array.files[call] = address

    def _drop_array(self, array: TraceArray) -> None:
        for file in array.files.values():
            self._kernel.heap.kfree(file)

    def _file(self, array: TraceArray, call: int) -> StructView:
        return self._kernel.view("trace_event_file", array.files[call])

    def array_of(self, file: StructView) -> TraceArray:
        """The array that a struct trace_event_file belongs to."""
        tracing = self._kernel.tracing
        return tracing.find(file.tr) if file.tr else tracing.own

    # --- enabling ---------------------------------------------------------------------------------------

    def enabled(self, array: TraceArray, call: int) -> bool:
        """Whether an event is recorded."""
        return bool(self._file(array, call).flags & _ENABLED)

    async def enable(self, array: TraceArray, call: int, *, on: bool) -> int:
        """Record an event, or no longer (__ftrace_event_enable_disable)."""
        file = self._file(array, call)
        if on is bool(file.flags & _ENABLED):
            return 0
        reg = self.event_class(call).reg
        result = await self._kernel.call_guest_int(reg, call, _REGISTER if on else _UNREGISTER, file.address)
        if on and result:
            self._kernel.printk.emit(f"event trace: Could not enable event {self.name(call)}\n", 6)
            return result
        file.flags = file.flags | _ENABLED | _WAS_ENABLED if on else file.flags & ~_ENABLED
        return 0

    async def enable_all(self, array: TraceArray, calls: Iterable[int], *, on: bool) -> int:
        """Each of several; the first error."""
        results = [await self.enable(array, call, on=on) for call in list(calls)]
        return next((result for result in results if result), 0)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self.calls), list(self.formats.items()), sorted(self._types)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.calls, self.formats, self._types = list(state[0]), dict(state[1]), set(state[2])


# --- what the code that TRACE_EVENT() makes calls --------------------------------------------------------


@export("int trace_event_raw_init(struct trace_event_call *call)")
def trace_event_raw_init(kernel: KernelCore, call: StructView) -> int:
    """Give an event its number (kernel/trace/trace_events.c)."""
    kernel.view("trace_event", call.addressof("event")).type = kernel[TraceEvents].new_type()
    return 0


@export("int trace_event_reg(struct trace_event_call *call, enum trace_reg type, void *data)")
async def trace_event_reg(kernel: KernelCore, call: StructView, type: int, data: int) -> int:
    """Register or unregister an event's probe (kernel/trace/trace_events.c)."""
    if not call.flags & TRACEPOINT:
        kernel.warnings.warn("kernel/trace/trace_events.c", 491, "", "trace_event_reg+0xa8/0xb0")
    probe = kernel.view("trace_event_class", call.get("class")).probe
    tp = kernel.view("tracepoint", call.tp)
    if type == _REGISTER:
        return await tracepoint_probe_register(kernel, tp, probe, data)
    if type == _UNREGISTER:
        await tracepoint_probe_unregister(kernel, tp, probe, data)
        return 0
    raise KernelError(errno.ENODEV, "perf does not record on this machine")


@export("bool __trace_trigger_soft_disabled(struct trace_event_file *file)")
def __trace_trigger_soft_disabled(kernel: KernelCore, file: StructView) -> int:
    """Whether a trigger keeps an event from being recorded: there are none (trace_events_trigger.c)."""
    return 0


@export(
    "void *trace_event_buffer_reserve(struct trace_event_buffer *fbuffer,"
    " struct trace_event_file *trace_file, unsigned long len)"
)
def trace_event_buffer_reserve(
    kernel: KernelCore, fbuffer: StructView, trace_file: StructView, len: int
) -> int:
    """Room for an entry, its common fields filled in; NULL while nothing is recorded (trace_events.c)."""
    tracing = kernel.tracing
    if not kernel[TraceEvents].array_of(trace_file).on:
        return 0
    len = -(-len // _ALIGNMENT) * _ALIGNMENT
    address = kernel.heap.kmalloc(len)
    if not address:
        return 0
    call = kernel.view("trace_event_call", trace_file.event_call)
    entry = kernel.view("trace_entry", address)
    entry.type = kernel.view("trace_event", call.addressof("event")).type
    entry.flags, entry.preempt_count = tracing.context(_HELD)
    entry.pid = kernel.sched.current.pid
    fbuffer.trace_file, fbuffer.entry, fbuffer.event = trace_file.address, address, len
    return address


@export("void trace_event_buffer_commit(struct trace_event_buffer *fbuffer)")
def trace_event_buffer_commit(kernel: KernelCore, fbuffer: StructView) -> None:
    """The entry is complete (kernel/trace/trace.c)."""
    file = kernel.view("trace_event_file", fbuffer.trace_file)
    array = kernel[TraceEvents].array_of(file)
    data = kernel.memory.read(fbuffer.entry, fbuffer.event)
    kernel.heap.kfree(fbuffer.entry)
    kernel.tracing.record(array, file.event_call, 0, data, held=_HELD)


async def _set_clr(
    kernel: KernelCore, array: TraceArray, system: str | None, event: str | None, on: bool
) -> int:
    calls = kernel[TraceEvents].matching(system, event)
    if not calls:
        return -errno.EINVAL
    return await kernel[TraceEvents].enable_all(array, calls, on=on)


def _pattern(kernel: KernelCore, text: int) -> str | None:
    return kernel.memory.read_text(text) if text else None


@export("int trace_set_clr_event(const char *system, const char *event, int set)")
async def trace_set_clr_event(kernel: KernelCore, system: int, event: int, set: int) -> int:
    """Record events, or no longer (kernel/trace/trace_events.c)."""
    names = _pattern(kernel, system), _pattern(kernel, event)
    return await _set_clr(kernel, kernel.tracing.own, *names, bool(set))


@export(
    "int trace_array_set_clr_event(struct trace_array *tr, const char *system, const char *event,"
    " bool enable)"
)
async def trace_array_set_clr_event(kernel: KernelCore, tr: int, system: int, event: int, enable: int) -> int:
    """Record events in an instance, or no longer (kernel/trace/trace_events.c)."""
    if not tr:
        return -errno.ENOENT
    names = _pattern(kernel, system), _pattern(kernel, event)
    return await _set_clr(kernel, kernel.tracing.find(tr), *names, bool(enable & 1))
