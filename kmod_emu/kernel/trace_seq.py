"""Text that trace events print into: struct trace_seq (kernel/trace/trace_seq.c, trace_output.c).

What does not fit is left out as a whole, and the sequence counts as full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.va_list import Arguments, VaList
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

PARTIAL_LINE, HANDLED, UNHANDLED = range(3)  # enum print_line_t
TRACEPOINT = 1 << 4  # TRACE_EVENT_FL_TRACEPOINT: the event's name is its tracepoint's
_SIZES = (1, 2, 4, 8)


def seq_init(kernel: KernelCore, seq: StructView) -> None:
    """Make it empty (trace_seq_init)."""
    inner = kernel.view("seq_buf", seq.addressof("seq"))
    inner.buffer, inner.size, inner.len = seq.addressof("buffer"), seq.layout.members["buffer"].size, 0
    seq.full = 0


def seq_end(kernel: KernelCore, seq: StructView) -> int:
    """Where the next byte will be (trace_seq_buffer_ptr)."""
    return seq.addressof("buffer") + kernel.view("seq_buf", seq.addressof("seq")).len


def seq_text(kernel: KernelCore, seq: StructView) -> bytes:
    """What was printed."""
    start = seq.addressof("buffer")
    return kernel.memory.read(start, seq_end(kernel, seq) - start)


def seq_append(kernel: KernelCore, seq: StructView, text: bytes) -> None:
    """Print."""
    inner = kernel.view("seq_buf", seq.addressof("seq"))
    if seq.full or inner.len + len(text) > inner.size:
        seq.full = 1
        return
    kernel.memory.write(seq.addressof("buffer") + inner.len, text)
    inner.len += len(text)


def event_name(kernel: KernelCore, call: StructView) -> str:
    """The name of an event (trace_event_name)."""
    pointer = call.get("name")
    if call.flags & TRACEPOINT:
        pointer = kernel.view("tracepoint", pointer).get("name")
    return kernel.memory.read_text(pointer)


# --- printing -----------------------------------------------------------------------------------------


@export("void trace_seq_printf(struct trace_seq *s, const char *fmt, ...)")
def trace_seq_printf(kernel: KernelCore, s: StructView, fmt: bytes, args: Arguments) -> None:
    """Print as printk does (kernel/trace/trace_seq.c)."""
    seq_append(kernel, s, vsnprintf(fmt, args, kernel.format_context))


@export("void trace_seq_vprintf(struct trace_seq *s, const char *fmt, va_list args)")
def trace_seq_vprintf(kernel: KernelCore, s: StructView, fmt: bytes, args: int) -> None:
    """trace_seq_printf with a va_list (kernel/trace/trace_seq.c)."""
    seq_append(kernel, s, vsnprintf(fmt, VaList(kernel.memory, args), kernel.format_context))


@export("void trace_seq_puts(struct trace_seq *s, const char *str)")
def trace_seq_puts(kernel: KernelCore, s: StructView, str: bytes) -> None:
    """Print a string (kernel/trace/trace_seq.c)."""
    seq_append(kernel, s, str)


@export("void trace_seq_putc(struct trace_seq *s, unsigned char c)")
def trace_seq_putc(kernel: KernelCore, s: StructView, c: int) -> None:
    """Print a character (kernel/trace/trace_seq.c)."""
    seq_append(kernel, s, bytes((c & 0xFF,)))


@export("void trace_seq_putmem(struct trace_seq *s, const void *mem, unsigned int len)")
def trace_seq_putmem(kernel: KernelCore, s: StructView, mem: int, len: int) -> None:
    """Print bytes (kernel/trace/trace_seq.c)."""
    seq_append(kernel, s, kernel.memory.read(mem, len))


@export("void trace_event_printf(struct trace_iterator *iter, const char *fmt, ...)")
def trace_event_printf(kernel: KernelCore, iter: StructView, fmt: bytes, args: Arguments) -> None:
    """Print into the line that is being made (kernel/trace/trace.c)."""
    seq = kernel.view("trace_seq", iter.addressof("seq"))
    seq_append(kernel, seq, vsnprintf(fmt, args, kernel.format_context))


@export("int trace_output_call(struct trace_iterator *iter, char *name, char *fmt, ...)")
def trace_output_call(kernel: KernelCore, iter: StructView, name: bytes, fmt: bytes, args: Arguments) -> int:
    """A line of an event that is printed in its own way (kernel/trace/trace_output.c)."""
    seq = kernel.view("trace_seq", iter.addressof("seq"))
    seq_append(kernel, seq, name + b": ")
    seq_append(kernel, seq, vsnprintf(fmt, args, kernel.format_context))
    return trace_handle_return(kernel, seq)


@export("int trace_raw_output_prep(struct trace_iterator *iter, struct trace_event *event)")
def trace_raw_output_prep(kernel: KernelCore, iter: StructView, event: int) -> int:
    """The beginning of an event's line (kernel/trace/trace_output.c)."""
    call = kernel.view("trace_event_call", event - kernel.profile.offset("trace_event_call", "event"))
    seq_init(kernel, kernel.view("trace_seq", iter.addressof("tmp_seq")))
    seq = kernel.view("trace_seq", iter.addressof("seq"))
    seq_append(kernel, seq, f"{event_name(kernel, call)}: ".encode())
    return trace_handle_return(kernel, seq)


@export("int trace_handle_return(struct trace_seq *s)")
def trace_handle_return(kernel: KernelCore, s: StructView) -> int:
    """Whether the line is complete (kernel/trace/trace_output.c)."""
    return PARTIAL_LINE if s.full else HANDLED


# --- what __print_flags() and its kin call --------------------------------------------------------------


def _piece(kernel: KernelCore, seq: StructView, text: str) -> int:
    """A text in the sequence that ends with NUL: its address."""
    start = seq_end(kernel, seq)
    seq_append(kernel, seq, text.encode("utf-8", "surrogateescape"))
    seq_append(kernel, seq, b"\0")
    return start


def _names(kernel: KernelCore, array: int) -> list[tuple[int, str]]:
    """An array of struct trace_print_flags."""
    names, memory = [], kernel.memory
    while name := memory.read_u64(array + 8):
        names.append((memory.read_u64(array), memory.read_text(name)))
        array += 16
    return names


@export(
    "const char *trace_print_flags_seq(struct trace_seq *p, const char *delim, unsigned long flags,"
    " const struct trace_print_flags *flag_array)"
)
def trace_print_flags_seq(kernel: KernelCore, p: StructView, delim: int, flags: int, flag_array: int) -> int:
    """Names of the flags that are set, and the rest as a number (__print_flags)."""
    words = []
    for mask, name in _names(kernel, flag_array):
        if flags and flags & mask == mask:
            words.append(name)
            flags &= ~mask
    if flags:
        words.append(f"{flags:#x}")
    return _piece(kernel, p, (kernel.memory.read_text(delim) if delim else "").join(words))


@export(
    "const char *trace_print_symbols_seq(struct trace_seq *p, unsigned long val,"
    " const struct trace_print_flags *symbol_array)"
)
def trace_print_symbols_seq(kernel: KernelCore, p: StructView, val: int, symbol_array: int) -> int:
    """The name of a value, or the number (__print_symbolic)."""
    names = _names(kernel, symbol_array)
    return _piece(kernel, p, next((name for value, name in names if value == val and name), f"{val:#x}"))


@export("const char *trace_print_array_seq(struct trace_seq *p, const void *buf, int count, size_t el_size)")
def trace_print_array_seq(kernel: KernelCore, p: StructView, buf: int, count: int, el_size: int) -> int:
    """The numbers of an array (__print_array)."""
    size, note = (el_size, "") if el_size in _SIZES else (1, f"BAD SIZE:{el_size} ")
    data = kernel.memory.read(buf, max(count, 0) * size)
    values = (int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size))
    return _piece(kernel, p, "{" + ",".join(f"{note}{value:#x}" for value in values) + "}")


@export(
    "const char *trace_print_hex_seq(struct trace_seq *p, const unsigned char *buf, int buf_len,"
    " bool concatenate)"
)
def trace_print_hex_seq(kernel: KernelCore, p: StructView, buf: int, buf_len: int, concatenate: int) -> int:
    """Bytes in hexadecimal (__print_hex)."""
    data = kernel.memory.read(buf, max(buf_len, 0))
    return _piece(kernel, p, data.hex() if concatenate & 1 else data.hex(" "))


@export(
    "const char *trace_print_bitmask_seq(struct trace_seq *p, void *bitmask_ptr, unsigned int bitmask_size)"
)
def trace_print_bitmask_seq(kernel: KernelCore, p: StructView, bitmask_ptr: int, bitmask_size: int) -> int:
    """A bitmap in groups of 32 bits (__get_bitmask)."""
    data = kernel.memory.read(bitmask_ptr, bitmask_size)
    groups = [f"{int.from_bytes(data[at : at + 4], 'little'):08x}" for at in range(0, len(data), 4)]
    return _piece(kernel, p, ",".join(reversed(groups)))
