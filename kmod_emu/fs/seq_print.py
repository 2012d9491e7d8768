"""Printing into a sequential file (fs/seq_file.c): what does not fit marks the buffer as full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import export
from kmod_emu.kernel.va_list import VaList
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.va_list import Arguments


def append(kernel: KernelCore, m: StructView, text: bytes, spare: int = 1) -> bool:
    """Add text; False, and the buffer counts as full, if fewer than `spare` bytes would be left."""
    count, size = m.get("count"), m.size
    if count + len(text) + spare > size:
        m.set("count", size)
        return False
    kernel.memory.write(m.buf + count, text)
    m.set("count", count + len(text))
    return True


@export("void seq_printf(struct seq_file *m, const char *f, ...)")
def seq_printf(kernel: KernelCore, m: StructView, f: bytes, args: Arguments) -> None:
    """Print as printk does (fs/seq_file.c)."""
    append(kernel, m, vsnprintf(f, args, kernel.format_context))


@export("void seq_vprintf(struct seq_file *m, const char *f, va_list args)")
def seq_vprintf(kernel: KernelCore, m: StructView, f: bytes, args: int) -> None:
    """seq_printf with a va_list (fs/seq_file.c)."""
    append(kernel, m, vsnprintf(f, VaList(kernel.memory, args), kernel.format_context))


@export("void seq_puts(struct seq_file *m, const char *s)")
def seq_puts(kernel: KernelCore, m: StructView, s: bytes) -> None:
    """Print a string (fs/seq_file.c)."""
    append(kernel, m, s)


@export("void __seq_puts(struct seq_file *m, const char *s)")
def __seq_puts(kernel: KernelCore, m: StructView, s: bytes) -> None:
    """seq_puts where the compiler does not know the length (fs/seq_file.c)."""
    append(kernel, m, s, 0)


@export("void seq_putc(struct seq_file *m, char c)")
def seq_putc(kernel: KernelCore, m: StructView, c: int) -> None:
    """Print a character (fs/seq_file.c)."""
    append(kernel, m, bytes((c & 0xFF,)), 0)


@export("int seq_write(struct seq_file *seq, const void *data, size_t len)")
def seq_write(kernel: KernelCore, seq: StructView, data: int, len: int) -> int:
    """Add bytes: 0, or -1 if they do not fit (fs/seq_file.c)."""
    if seq.get("count") + len >= seq.size:
        seq.set("count", seq.size)
        return -1
    append(kernel, seq, kernel.memory.read(data, len))
    return 0


@export("void seq_pad(struct seq_file *m, char c)")
def seq_pad(kernel: KernelCore, m: StructView, c: int) -> None:
    """Blanks up to `pad_until`, then a character if one is given (fs/seq_file.c)."""
    blanks = m.pad_until - m.get("count")
    if blanks > 0 and not append(kernel, m, b" " * blanks):
        return
    if c & 0xFF:
        append(kernel, m, bytes((c & 0xFF,)), 0)


def _number(kernel: KernelCore, m: StructView, delimiter: int, digits: bytes) -> None:
    """A delimiter, NULL for none, and a number; two bytes must be free behind the delimiter."""
    text = kernel.memory.read_cstring(delimiter) if delimiter else b""
    if append(kernel, m, text, 2):
        append(kernel, m, digits)


@export("void seq_put_decimal_ull(struct seq_file *m, const char *delimiter, unsigned long long num)")
def seq_put_decimal_ull(kernel: KernelCore, m: StructView, delimiter: int, num: int) -> None:
    """Print an unsigned number (fs/seq_file.c)."""
    _number(kernel, m, delimiter, b"%d" % num)


@export(
    "void seq_put_decimal_ull_width(struct seq_file *m, const char *delimiter, unsigned long long num, "
    "unsigned int width)"
)
def seq_put_decimal_ull_width(
    kernel: KernelCore, m: StructView, delimiter: int, num: int, width: int
) -> None:
    """Print an unsigned number, at least `width` wide (fs/seq_file.c)."""
    _number(kernel, m, delimiter, (b"%d" % num).rjust(width))


@export("void seq_put_decimal_ll(struct seq_file *m, const char *delimiter, long long num)")
def seq_put_decimal_ll(kernel: KernelCore, m: StructView, delimiter: int, num: int) -> None:
    """Print a signed number (fs/seq_file.c)."""
    _number(kernel, m, delimiter, b"%d" % num)


@export(
    "void seq_put_hex_ll(struct seq_file *m, const char *delimiter, unsigned long long v, unsigned int width)"
)
def seq_put_hex_ll(kernel: KernelCore, m: StructView, delimiter: int, v: int, width: int) -> None:
    """Print a number in hexadecimal, at least `width` digits (fs/seq_file.c)."""
    _number(kernel, m, delimiter, (b"%x" % v).rjust(width, b"0"))


@export(
    "void seq_hex_dump(struct seq_file *m, const char *prefix_str, int prefix_type, int rowsize, "
    "int groupsize, const void *buf, size_t len, bool ascii)"
)
async def seq_hex_dump(
    kernel: KernelCore,
    m: StructView,
    prefix_str: bytes,
    prefix_type: int,
    rowsize: int,
    groupsize: int,
    buf: int,
    len: int,
    ascii: int,
) -> None:
    """Dump memory, a row a line (fs/seq_file.c); rows come from hex_dump_to_buffer."""
    rowsize = rowsize if rowsize in (16, 32) else 16
    for offset in range(0, len, rowsize):
        head = {1: b"%016x: " % (buf + offset), 2: b"%08x: " % offset}.get(prefix_type, b"")
        if not append(kernel, m, prefix_str + head, 0):
            return
        count, row = m.get("count"), min(rowsize, len - offset)
        length = await kernel.call_guest_int(
            kernel.symbol("hex_dump_to_buffer"),
            buf + offset, row, rowsize, groupsize, m.buf + count, m.size - count, ascii,
        )  # fmt: skip
        if length >= m.size - count:
            m.set("count", m.size)
            return
        m.set("count", count + length)
        append(kernel, m, b"\n", 0)


# --- walking lists ----------------------------------------------------------------------------------------


@export("struct list_head *seq_list_start(struct list_head *head, loff_t pos)")
def seq_list_start(kernel: KernelCore, head: int, pos: int) -> int:
    """The pos-th element of a list, or NULL (fs/seq_file.c)."""
    element = kernel.memory.read_u64(head)
    while element != head:
        if pos == 0:
            return element
        pos -= 1
        element = kernel.memory.read_u64(element)
    return 0


@export("struct list_head *seq_list_start_head(struct list_head *head, loff_t pos)")
def seq_list_start_head(kernel: KernelCore, head: int, pos: int) -> int:
    """seq_list_start with the head itself at position 0 (fs/seq_file.c)."""
    return head if not pos else seq_list_start(kernel, head, pos - 1)


@export("struct list_head *seq_list_next(void *v, struct list_head *head, loff_t *ppos)")
def seq_list_next(kernel: KernelCore, v: int, head: int, ppos: int) -> int:
    """The next element of a list, or NULL (fs/seq_file.c)."""
    kernel.memory.write_u64(ppos, kernel.memory.read_u64(ppos) + 1)
    element = kernel.memory.read_u64(v)
    return 0 if element == head else element


@export("struct hlist_node *seq_hlist_start(struct hlist_head *head, loff_t pos)")
def seq_hlist_start(kernel: KernelCore, head: int, pos: int) -> int:
    """The pos-th element of a hash chain, or NULL (fs/seq_file.c)."""
    node = kernel.memory.read_u64(head)
    while node and pos:
        pos -= 1
        node = kernel.memory.read_u64(node)
    return node


@export("struct hlist_node *seq_hlist_start_head(struct hlist_head *head, loff_t pos)")
def seq_hlist_start_head(kernel: KernelCore, head: int, pos: int) -> int:
    """seq_hlist_start with a token at position 0 (fs/seq_file.c)."""
    return 1 if not pos else seq_hlist_start(kernel, head, pos - 1)


@export("struct hlist_node *seq_hlist_next(void *v, struct hlist_head *head, loff_t *ppos)")
def seq_hlist_next(kernel: KernelCore, v: int, head: int, ppos: int) -> int:
    """The next element of a hash chain, or NULL (fs/seq_file.c)."""
    kernel.memory.write_u64(ppos, kernel.memory.read_u64(ppos) + 1)
    return kernel.memory.read_u64(head if v == 1 else v)


for _kind in ("list_start", "list_start_head", "list_next", "hlist_start", "hlist_start_head", "hlist_next"):
    _result = "struct list_head *" if _kind.startswith("list") else "struct hlist_node *"
    _first = "void *v" if _kind.endswith("next") else f"{_result}head"
    _rest = ", void *head, loff_t *ppos" if _kind.endswith("next") else ", loff_t pos"
    export(f"{_result}seq_{_kind}_rcu({_first}{_rest})")(globals()[f"seq_{_kind}"])
