"""What tracing records: the arrays that events and trace_printk() write to (kernel/trace/trace.c).

An array is a ring of records, the oldest of which are dropped when it is full. There is the kernel's own, and
those that modules make (instances).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.preempt import EFLAGS_IF, preempt_count
from kmod_emu.kernel.va_list import Arguments, VaList
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

BUFFER_KB = 1410  # what buffer_size_kb says on a machine that nobody changed it on
_RECORD_OVERHEAD = 4  # of struct ring_buffer_event, for small records
IRQS_OFF, NEED_RESCHED, HARDIRQ, SOFTIRQ, NMI, BH_OFF = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80

_BANNER = (
    "",
    "**********************************************************",
    "**   NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE   **",
    "**                                                      **",
    "** trace_printk() being used. Allocating extra memory.  **",
    "**                                                      **",
    "** This means that this is a DEBUG kernel and it is     **",
    "** unsafe for production use.                           **",
    "**                                                      **",
    "** If you see this message and you are not debugging    **",
    "** the kernel, report this immediately to your vendor!  **",
    "**                                                      **",
    "**   NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE NOTICE   **",
    "**********************************************************",
)


class Record(NamedTuple):
    """One record.

    Attributes:
        flags: TRACE_FLAG_* of its context.
        preempt: The preemption count then, at most 15.
        call: The struct trace_event_call of an event, 0 for text.
        place: Of text, the address that printed it, or a function of the kernel's by name.
        data: The event's entry as it was in the buffer, or the text.
    """

    time_ns: int
    pid: int
    comm: str
    flags: int
    preempt: int
    call: int
    place: int | str
    data: bytes


class TraceArray:
    """One struct trace_array.

    Attributes:
        name: "" for the kernel's own.
        address: Of its struct.
        references: Who uses it, itself included.
        on: Whether records are taken (tracing_on).
        written: Records since it was last emptied, dropped ones included.
        files: What its directory events/ holds: struct trace_event_call -> struct trace_event_file.
        changed: Called after each record, by who waits for one.
    """

    def __init__(self, name: str, address: int) -> None:
        self.name, self.address = name, address
        self.references = 1
        self.on = True
        self.records: deque[Record] = deque()
        self.written = self._bytes = 0
        self.files: dict[int, int] = {}
        self.changed: Callable[[], None] = lambda: None

    def append(self, record: Record) -> None:
        """Take a record."""
        self.records.append(record)
        self.written += 1
        self._bytes += _RECORD_OVERHEAD + len(record.data)
        while self._bytes > BUFFER_KB << 10:
            self._bytes -= _RECORD_OVERHEAD + len(self.records.popleft().data)
        self.changed()

    def consume(self) -> Record:
        """Take the oldest record out."""
        record = self.records.popleft()
        self._bytes -= _RECORD_OVERHEAD + len(record.data)
        return record

    def clear(self) -> None:
        """Forget all records."""
        self.records.clear()
        self.written = self._bytes = 0

    def save(self) -> Any:
        """State for a snapshot or file."""
        records = [[*record[:-1], record.data.hex()] for record in self.records]
        files = list(self.files.items())
        return [self.name, self.address, self.references, self.on, self.written, files, records]

    @classmethod
    def loaded(cls, state: Any) -> TraceArray:
        """From saved state."""
        name, address, references, on, written, files, records = state
        array = cls(name, address)
        for *head, data in records:
            array.append(Record._make([*head, bytes.fromhex(data)]))
        array.references, array.on, array.written, array.files = references, on, written, dict(files)
        return array


class Tracing:
    """All arrays, the kernel's own first."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.arrays = [TraceArray("", 0)]
        self._printing = False  # whether trace_printk() has its buffers
        self.instance_made: Callable[[TraceArray], None] = lambda array: None
        self.instance_gone: Callable[[TraceArray], None] = lambda array: None

    @property
    def own(self) -> TraceArray:
        """The kernel's own array."""
        return self.arrays[0]

    def find(self, address: int) -> TraceArray:
        """The array whose struct is at an address; LookupError if there is none."""
        for array in self.arrays[1:]:
            if array.address == address:
                return array
        raise LookupError(f"no trace array at {address:#x}")

    def record(self, array: TraceArray, call: int, place: int | str, data: bytes, held: int = 0) -> None:
        """Record what happens now.

        Args:
            array: Where.
            call: An event, or 0.
            place: Who prints text.
            data: The entry or the text.
            held: By how much the tracepoint itself raised the preemption count.
        """
        task = self._kernel.sched.current
        flags, preempt = self.context(held)
        now = self._kernel.clock.now_ns
        array.append(Record(now, task.pid, task.comm, flags, preempt, call, place, data))

    def context(self, held: int = 0) -> tuple[int, int]:
        """Flags and preemption count of what runs now (tracing_gen_ctx)."""
        count = preempt_count(self._kernel)
        flags = 0 if self._kernel.cpu.read("eflags") & EFLAGS_IF else IRQS_OFF
        for mask, flag in ((0xF0_0000, NMI), (0xF_0000, HARDIRQ), (0x100, SOFTIRQ), (0xFE00, BH_OFF)):
            if count & mask:
                flags |= flag
        return flags, min(max((count & 0xFF) - held, 0), 15)

    def print(self, array: TraceArray, place: int | str, text: bytes) -> int:
        """What trace_printk() records; how much."""
        if not array.on:
            return 0
        self.record(array, 0, place, text)
        return len(text)

    def prepare_printing(self, *, banner: bool = True) -> None:
        """A module that calls trace_printk() is loaded (trace_printk_init_buffers)."""
        if self._printing:
            return
        self._printing = True
        for line in _BANNER if banner else ():
            self._kernel.printk.emit(f"{line}\n", 4)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [self._printing, [array.save() for array in self.arrays]]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._printing = state[0]
        self.arrays = [TraceArray.loaded(saved) for saved in state[1]]


# --- trace_printk() -----------------------------------------------------------------------------------


def _define_prints() -> None:
    """With a format that is known when the module is loaded, and with others."""

    def define(infix: str) -> None:
        @export(f"int __trace_{infix}printk(unsigned long ip, const char *fmt, ...)")
        def trace_printk(kernel: KernelCore, ip: int, fmt: bytes, args: Arguments) -> int:
            """Record a line (kernel/trace/trace_printk.c)."""
            return kernel.tracing.print(kernel.tracing.own, ip, vsnprintf(fmt, args, kernel.format_context))

        @export(f"int __ftrace_v{infix}printk(unsigned long ip, const char *fmt, va_list ap)")
        def ftrace_vprintk(kernel: KernelCore, ip: int, fmt: bytes, ap: int) -> int:
            """Record a line, with a va_list (kernel/trace/trace_printk.c)."""
            text = vsnprintf(fmt, VaList(kernel.memory, ap), kernel.format_context)
            return kernel.tracing.print(kernel.tracing.own, ip, text)

    for infix in ("", "b"):
        define(infix)


_define_prints()


@export("int __trace_puts(unsigned long ip, const char *str, int size)")
def __trace_puts(kernel: KernelCore, ip: int, str: int, size: int) -> int:
    """Record a string; it gets a newline if it has none (kernel/trace/trace.c)."""
    text = kernel.memory.read(str, size)
    kernel.tracing.print(kernel.tracing.own, ip, text if text.endswith(b"\n") else text + b"\n")
    return size if kernel.tracing.own.on else 0


@export("int __trace_bputs(unsigned long ip, const char *str)")
def __trace_bputs(kernel: KernelCore, ip: int, str: bytes) -> int:
    """Record a string that stays where it is (kernel/trace/trace.c)."""
    return int(bool(kernel.tracing.print(kernel.tracing.own, ip, str)))


# --- switching on and off -----------------------------------------------------------------------------


@export("void tracing_on(void)")
def tracing_on(kernel: KernelCore) -> None:
    """Take records (kernel/trace/trace.c)."""
    kernel.tracing.own.on = True


@export("void tracing_off(void)")
def tracing_off(kernel: KernelCore) -> None:
    """Take no records: what was recorded before a failure stays (kernel/trace/trace.c)."""
    kernel.tracing.own.on = False


@export("int tracing_is_on(void)")
def tracing_is_on(kernel: KernelCore) -> int:
    """Whether records are taken (kernel/trace/trace.c)."""
    return int(kernel.tracing.own.on)


# --- instances ----------------------------------------------------------------------------------------


@export("struct trace_array *trace_array_get_by_name(const char *name)")
def trace_array_get_by_name(kernel: KernelCore, name: str) -> int:
    """An instance, which is made if there is none of that name (kernel/trace/trace.c)."""
    tracing = kernel.tracing
    found = next((array for array in tracing.arrays[1:] if array.name == name), None)
    if found is None:
        address = kernel.heap.kmalloc(kernel.profile.struct("trace_array").size)
        if not address:
            return 0
        found = TraceArray(name, address)
        tracing.arrays.append(found)
        tracing.instance_made(found)
    found.references += 1
    return found.address


@export("void trace_array_put(struct trace_array *this_tr)")
def trace_array_put(kernel: KernelCore, this_tr: int) -> None:
    """No longer needed (kernel/trace/trace.c)."""
    if this_tr:
        kernel.tracing.find(this_tr).references -= 1


@export("int trace_array_destroy(struct trace_array *this_tr)")
def trace_array_destroy(kernel: KernelCore, this_tr: int) -> int:
    """The end of an instance that nobody uses (kernel/trace/trace.c)."""
    if not this_tr:
        return -errno.EINVAL
    try:
        array = kernel.tracing.find(this_tr)
    except LookupError:
        return -errno.ENODEV
    if array.references > 1:
        return -errno.EBUSY
    kernel.tracing.instance_gone(array)
    kernel.tracing.arrays.remove(array)
    kernel.heap.kfree(this_tr)
    return 0


@export("int trace_array_printk(struct trace_array *tr, unsigned long ip, const char *fmt, ...)")
def trace_array_printk(kernel: KernelCore, tr: int, ip: int, fmt: bytes, args: Arguments) -> int:
    """trace_printk() to an instance (kernel/trace/trace.c)."""
    if not tr:
        return -errno.ENOENT
    text = vsnprintf(fmt, args, kernel.format_context)
    return kernel.tracing.print(kernel.tracing.find(tr), ip, text)


@export("int trace_array_init_printk(struct trace_array *tr)")
def trace_array_init_printk(kernel: KernelCore, tr: int) -> int:
    """Before trace_array_printk() is called the first time (kernel/trace/trace.c)."""
    if not tr:
        raise KernelError(errno.ENOENT, "there is no trace array")
    kernel.tracing.prepare_printing(banner=False)
    return 0
