"""What a 2.4 kernel exports to modules: its `__ksymtab`.

Most of it is the same code that the modern kernel's exports are; what 2.4 did differently is here.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from kmod_emu.kernel.exports import Convention, Fidelity, Handler, symbol_name
from kmod_emu.kernel.vsprintf import vsnprintf

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.vsprintf import Arguments

DEFAULT_LEVEL = 4  # DEFAULT_MESSAGE_LOGLEVEL
_LEVEL = re.compile(rb"<([0-7])>")

# Prototype of the time -> the symbol of the base kernel that serves it.
_SAME = {
    "void vfree(void *addr)": "vfree",
    "void *vmalloc(unsigned long size)": "vmalloc",
    "void kfree(const void *objp)": "kfree",
    "int sprintf(char *buf, const char *fmt, ...)": "sprintf",
    "int snprintf(char *buf, size_t size, const char *fmt, ...)": "snprintf",
    "int vsprintf(char *buf, const char *fmt, va_list args)": "vsprintf",
    "unsigned long simple_strtoul(const char *cp, char **endp, unsigned int base)": "simple_strtoul",
    "long simple_strtol(const char *cp, char **endp, unsigned int base)": "simple_strtol",
    "unsigned long copy_to_user(void *to, const void *from, unsigned long n)": "_copy_to_user",
    "unsigned long copy_from_user(void *to, const void *from, unsigned long n)": "_copy_from_user",
    "void *memcpy(void *dest, const void *src, size_t n)": "memcpy",
    "void *memmove(void *dest, const void *src, size_t n)": "memmove",
    "void *memset(void *s, int c, size_t n)": "memset",
    "int memcmp(const void *cs, const void *ct, size_t n)": "memcmp",
    "size_t strlen(const char *s)": "strlen",
    "size_t strnlen(const char *s, size_t count)": "strnlen",
    "char *strcpy(char *dest, const char *src)": "strcpy",
    "char *strncpy(char *dest, const char *src, size_t n)": "strncpy",
    "char *strcat(char *dest, const char *src)": "strcat",
    "int strcmp(const char *cs, const char *ct)": "strcmp",
    "int strncmp(const char *cs, const char *ct, size_t n)": "strncmp",
    "char *strchr(const char *s, int c)": "strchr",
    "char *strstr(const char *s1, const char *s2)": "strstr",
    "unsigned long volatile jiffies": "jiffies",
    "void panic(const char *fmt, ...)": "panic",
}
# CRCs that Linux 2.4 itself had; the others are made of our declarations.
_KNOWN_VERSIONS = {"printk": 0x1B7D4074}


def version(declaration: str) -> int:
    """The CRC of a declaration, as genksyms makes one.

    >>> f"{version('int printk(const char *fmt, ...)'):08x}"
    '1b7d4074'
    """
    return _KNOWN_VERSIONS.get(symbol_name(declaration), zlib.crc32(declaration.encode()))


def versioned(declaration: str) -> str:
    """The name that a kernel with CONFIG_MODVERSIONS exports.

    >>> versioned("int printk(const char *fmt, ...)")
    'printk_R1b7d4074'
    """
    return f"{symbol_name(declaration)}_R{version(declaration):08x}"


def printk(kernel: KernelCore, fmt: bytes, args: Arguments) -> int:
    """Log lines, each with a level in front: "<6>text" (kernel/printk.c)."""
    text = vsnprintf(fmt, args, kernel.format_context)
    for line in text.splitlines(keepends=True):
        match = _LEVEL.match(line)
        if match:
            kernel.printk.emit(line[match.end() :], int(match[1]))
        else:  # goes on where the text before it ended without a newline
            kernel.printk.emit(b"\x01c\x01%d" % DEFAULT_LEVEL + line)
    return len(text)


def kmalloc(kernel: KernelCore, size: int, flags: int) -> int:
    """Allocate; 2.4's flags have other values, and say nothing here (mm/slab.c)."""
    return kernel.heap.kmalloc(size)


_OWN: dict[str, Callable[..., Any]] = {
    "int printk(const char *fmt, ...)": printk,
    "void *kmalloc(size_t size, int flags)": kmalloc,
}


def declarations(more: dict[str, Callable[..., Any]]) -> list[str]:
    """All declarations, sorted by name.

    Args:
        more: Functions that other parts of the kernel serve, by prototype.
    """
    return sorted({*_SAME, *_OWN, *more}, key=symbol_name)


def export_table(
    kernel: KernelCore, more: dict[str, Callable[..., Any]], *, versions: bool
) -> dict[str, int]:
    """The symbols of the kernel: name -> address, in the order of `__ksymtab`.

    Args:
        kernel: The machine.
        more: As for `declarations`.
        versions: Whether names end in `_R` and the CRC (CONFIG_MODVERSIONS).
    """
    own = {**_OWN, **more}
    handlers = [
        Handler(symbol_name(text), text, function, Fidelity.EXACT, Convention.C)
        for text, function in own.items()
    ]
    addresses = dict(zip(own, kernel.traps.bind_all(handlers), strict=True))
    table = {}
    for text in declarations(more):
        name = versioned(text) if versions else symbol_name(text)
        table[name] = addresses.get(text) or kernel.symbols.address(_SAME[text])
    return {"Using_Versions": 1, **table} if versions else table
