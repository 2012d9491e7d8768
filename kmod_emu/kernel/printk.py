"""printk (kernel/printk/printk.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.clock import PRINTK_NS
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.logbuffer import RECORD_OVERHEAD, LogBuffer, Record
from kmod_emu.kernel.vsprintf import VaList, parse_prefix, vsnprintf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.vsprintf import Arguments

DEFAULT_LEVEL = 4
CONSOLE_LOGLEVEL = 7
RECORD_MAX = 992  # LOG_LINE_MAX: text with prefix and NUL is cut to this
_PREFIX_LENGTH = 2  # KERN_SOH and the level


class Printk(LogBuffer):
    """The kernel's log and what writes it."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__()
        self._kernel = kernel
        self.console_loglevel = CONSOLE_LOGLEVEL  # messages below it would go to the console
        self._console_saved: int | None = None  # by console_off
        self.news: Callable[[], None] = lambda: None  # wakes who reads /dev/kmsg

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
        if not self._kernel.usage.may_print(len(body) + RECORD_OVERHEAD):
            return len(body)
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
        self.news()
        self._kernel.events.emit("printk", level=prefix, text=body)
        return len(body)

    def say(self, lines: Iterable[tuple[int, str]]) -> None:
        """Log whole lines with their levels."""
        for level, line in lines:
            self.emit(line + "\n", level)

    def console_off(self) -> None:
        """`dmesg -D`: SYSLOG_ACTION_CONSOLE_OFF."""
        if self._console_saved is None:
            self._console_saved = self.console_loglevel
        self.console_loglevel = self._minimum()

    def console_on(self) -> None:
        """`dmesg -E`: SYSLOG_ACTION_CONSOLE_ON."""
        if self._console_saved is not None:
            self.console_loglevel, self._console_saved = self._console_saved, None

    def set_console_level(self, level: int) -> None:
        """`dmesg -n LEVEL`: SYSLOG_ACTION_CONSOLE_LEVEL."""
        self.console_loglevel, self._console_saved = max(level, self._minimum()), None

    def _minimum(self) -> int:
        """The lowest level of the console."""
        return int(self._kernel.sysctl["printk"][1])

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {**super().save(), "console": [self.console_loglevel, self._console_saved]}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        super().load(state)
        self.console_loglevel, self._console_saved = state["console"]


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
