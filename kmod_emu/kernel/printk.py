"""printk and the ring buffer behind dmesg (kernel/printk/printk.c)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.clock import NSEC_PER_SEC, PRINTK_NS
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.vsprintf import VaList, parse_prefix, vsnprintf

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.vsprintf import Arguments

DEFAULT_LEVEL = 4
CONSOLE_LOGLEVEL, MINIMUM_CONSOLE_LOGLEVEL = 7, 1
RECORD_MAX = 992  # LOG_LINE_MAX: text with prefix and NUL is cut to this
_PREFIX_LENGTH = 2  # KERN_SOH and the level
BUFFER_BYTES = 1 << 17  # CONFIG_LOG_BUF_SHIFT=17
_RECORD_OVERHEAD = 64


class Record(NamedTuple):
    """One message.

    Attributes:
        sequence: Number since boot.
        level: 0 (emergency) to 7 (debug).
        time_ns: When it was stored.
        text: May hold newlines; the bytes are whatever the module printed.
        continued: Whether it was put together from several calls.
    """

    sequence: int
    level: int
    time_ns: int
    text: bytes
    continued: bool = False

    def lines(self) -> list[str]:
        r"""The text's lines, printable: control characters as \\xNN, so that no terminal obeys them."""
        return [escape(line) for line in self.text.split(b"\n")]

    def kmsg(self) -> str:
        r"""The text as /dev/kmsg has it: bytes that are not printable ASCII, and the backslash, as \xNN."""
        return "".join(chr(b) if 32 <= b < 127 and b != 0x5C else f"\\x{b:02x}" for b in self.text)


def escape(text: bytes) -> str:
    r"""Bytes as a terminal may show them.

    >>> escape(b"\x1b[31mred\t\xc3\xa9")
    '\\x1b[31mred\té'
    """
    decoded = text.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" if c < "\u0100" else f"\\u{ord(c):04x}"
        for c in decoded
    )


class Printk:
    """The ring buffer; `context` is what vsprintf asks about the kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.records: deque[Record] = deque()
        self._bytes = 0
        self.sequence = 0  # of the next record
        self._cleared = 0  # dmesg -c shows from here
        self._open_by: int | None = None  # pid whose record has no newline yet
        self.console_loglevel = CONSOLE_LOGLEVEL  # messages below it would go to the console
        self._console_saved: int | None = None  # by console_off

    def emit(self, text: str | bytes, level: int | None = None) -> int:
        """Store a formatted message; returns the length of what was stored by this call.

        Args:
            text: May begin with KERN_ prefixes; one newline at the end closes the record.
            level: Goes in front of the text as its prefix; None leaves it to the text.
        """
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        if level is not None:
            raw = b"\x01%d" % level + raw
        # vprintk_store() keeps the length in 16 bits: a text of 64 KiB and a bit is cut to the bit.
        reserve = min(len(raw) + 1 & 0xFFFF, RECORD_MAX)
        prefix, continues, body = parse_prefix(raw[: max(reserve - 1, 0)])
        closes = body.endswith(b"\n")
        body = body[:-1] if closes else body
        pid = self._kernel.sched.current.pid
        last = self.records[-1] if continues and self._open_by == pid and self.records else None
        if last is not None and len(last.text) + reserve <= RECORD_MAX:  # prb_reserve_in_last()
            self._bytes += len(body)
            self.records[-1] = last._replace(text=last.text + body, continued=True)
        elif body or not continues:
            self._kernel.clock.advance(PRINTK_NS)
            now = self._kernel.clock.now_ns
            self._store(Record(self.sequence, DEFAULT_LEVEL if prefix is None else prefix, now, body))
        self._open_by = None if closes else pid
        self._kernel.events.emit("printk", level=prefix, text=body)
        return len(body)

    def _store(self, record: Record) -> None:
        self.sequence += 1
        self.records.append(record)
        self._bytes += len(record.text) + _RECORD_OVERHEAD
        while self._bytes > BUFFER_BYTES and len(self.records) > 1:
            self._bytes -= len(self.records.popleft().text) + _RECORD_OVERHEAD

    def readable(self) -> list[Record]:
        """Records that readers get: those since the last clear, without one that still lacks its newline.

        As in Linux, `printk("text")` is not seen before the next message finishes it.
        """
        records = [record for record in self.records if record.sequence >= self._cleared]
        if records and self._open_by is not None:
            records.pop()
        return records

    def lines(self) -> list[str]:
        """Every readable line, without time stamps."""
        return [line for record in self.readable() for line in record.lines()]

    def dmesg(self) -> str:
        """What `dmesg` prints: every line with its time stamp."""
        return "".join(f"{stamp(record)} {line}\n" for record in self.readable() for line in record.lines())

    def clear(self) -> None:
        """`dmesg -C`: later reads start here."""
        self._cleared = self.sequence

    def console_off(self) -> None:
        """`dmesg -D`: SYSLOG_ACTION_CONSOLE_OFF."""
        if self._console_saved is None:
            self._console_saved = self.console_loglevel
        self.console_loglevel = MINIMUM_CONSOLE_LOGLEVEL

    def console_on(self) -> None:
        """`dmesg -E`: SYSLOG_ACTION_CONSOLE_ON."""
        if self._console_saved is not None:
            self.console_loglevel, self._console_saved = self._console_saved, None

    def set_console_level(self, level: int) -> None:
        """`dmesg -n LEVEL`: SYSLOG_ACTION_CONSOLE_LEVEL."""
        self.console_loglevel, self._console_saved = max(level, MINIMUM_CONSOLE_LOGLEVEL), None

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "console": [self.console_loglevel, self._console_saved],
            "records": [
                (*record[:3], record.text.decode("latin-1"), record.continued) for record in self.records
            ],
            "sequence": self.sequence,
            "cleared": self._cleared,
            "open_by": self._open_by,
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.records = deque(
            Record(sequence, level, time_ns, text.encode("latin-1"), continued)
            for sequence, level, time_ns, text, continued in state["records"]
        )
        self._bytes = sum(len(record.text) + _RECORD_OVERHEAD for record in self.records)
        self.sequence, self._cleared = state["sequence"], state["cleared"]
        self._open_by = state["open_by"]
        self.console_loglevel, self._console_saved = state["console"]


def stamp(record: Record) -> str:
    """Time since boot as dmesg shows it.

    >>> stamp(Record(0, 6, 2_000_001_500, b""))
    '[    2.000001]'
    """
    return f"[{record.time_ns // NSEC_PER_SEC:5d}.{record.time_ns % NSEC_PER_SEC // 1000:06d}]"


@export("int _printk(const char *fmt, ...)")
def _printk(kernel: KernelCore, fmt: bytes, args: Arguments) -> int:
    """Format and log (kernel/printk/printk.c)."""
    return kernel.printk.emit(vsnprintf(fmt, args, kernel.format_context))


@export("int printk(const char *fmt, ...)")
def printk(kernel: KernelCore, fmt: bytes, args: Arguments) -> int:
    """_printk's name before 5.15."""
    return kernel.printk.emit(vsnprintf(fmt, args, kernel.format_context))


@export("int vprintk(const char *fmt, va_list args)")
def vprintk(kernel: KernelCore, fmt: bytes, args: int) -> int:
    """Printk with a va_list (kernel/printk/printk_safe.c)."""
    return kernel.printk.emit(vsnprintf(fmt, VaList(kernel.memory, args), kernel.format_context))


def _store_text(kernel: KernelCore, buf: int, size: int, text: bytes) -> None:
    if size:
        kernel.memory.write(buf, text[: size - 1] + b"\0")


@export("int sprintf(char *buf, const char *fmt, ...)")
def sprintf(kernel: KernelCore, buf: int, fmt: bytes, args: Arguments) -> int:
    """Format into a buffer of unknown size (lib/vsprintf.c)."""
    text = vsnprintf(fmt, args, kernel.format_context)
    kernel.memory.write(buf, text + b"\0")
    return len(text)


@export("int snprintf(char *buf, size_t size, const char *fmt, ...)")
def snprintf(kernel: KernelCore, buf: int, size: int, fmt: bytes, args: Arguments) -> int:
    """Format into a buffer; returns the length it would take (lib/vsprintf.c)."""
    text = vsnprintf(fmt, args, kernel.format_context)
    _store_text(kernel, buf, size, text)
    return len(text)


@export("int scnprintf(char *buf, size_t size, const char *fmt, ...)")
def scnprintf(kernel: KernelCore, buf: int, size: int, fmt: bytes, args: Arguments) -> int:
    """Format into a buffer; returns the length stored (lib/vsprintf.c)."""
    text = vsnprintf(fmt, args, kernel.format_context)
    _store_text(kernel, buf, size, text)
    return min(len(text), max(size - 1, 0))


@export("int vsprintf(char *buf, const char *fmt, va_list args)")
def vsprintf(kernel: KernelCore, buf: int, fmt: bytes, args: int) -> int:
    """Sprintf with a va_list (lib/vsprintf.c)."""
    return sprintf(kernel, buf, fmt, VaList(kernel.memory, args))


@export("int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)")
def vsnprintf_export(kernel: KernelCore, buf: int, size: int, fmt: bytes, args: int) -> int:
    """Snprintf with a va_list (lib/vsprintf.c)."""
    return snprintf(kernel, buf, size, fmt, VaList(kernel.memory, args))


@export("int vscnprintf(char *buf, size_t size, const char *fmt, va_list args)")
def vscnprintf(kernel: KernelCore, buf: int, size: int, fmt: bytes, args: int) -> int:
    """Scnprintf with a va_list (lib/vsprintf.c)."""
    return scnprintf(kernel, buf, size, fmt, VaList(kernel.memory, args))


@export("char *kasprintf(gfp_t gfp, const char *fmt, ...)")
def kasprintf(kernel: KernelCore, gfp: int, fmt: bytes, args: Arguments) -> int:
    """Format into fresh heap memory (lib/kasprintf.c)."""
    text = vsnprintf(fmt, args, kernel.format_context) + b"\0"
    address = kernel.heap.kmalloc(len(text))
    if address:
        kernel.memory.write(address, text)
    return address


@export("char *kvasprintf(gfp_t gfp, const char *fmt, va_list ap)")
def kvasprintf(kernel: KernelCore, gfp: int, fmt: bytes, ap: int) -> int:
    """Kasprintf with a va_list (lib/kasprintf.c)."""
    return kasprintf(kernel, gfp, fmt, VaList(kernel.memory, ap))


@export("int __printk_ratelimit(const char *func)", Fidelity.APPROXIMATE)
def __printk_ratelimit(kernel: KernelCore, func: int) -> int:
    """Whether a rate-limited message may be printed: always (kernel/printk/printk.c)."""
    return 1


@export("int ___ratelimit(struct ratelimit_state *rs, const char *func)", Fidelity.APPROXIMATE)
def ___ratelimit(kernel: KernelCore, rs: int, func: int) -> int:
    """Whether a rate-limited event may go on: always (lib/ratelimit.c)."""
    return 1
