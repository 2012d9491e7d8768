"""pr_debug() that is turned on and off at run time (lib/dynamic_debug.c).

Each call has a `struct _ddebug` in the module's `__dyndbg` section, with a static key that keeps the call out
of the way. /proc/dynamic_debug/control lists them and takes queries, as does the parameter `dyndbg`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.drivers.dev_printk import prefix as device_prefix
from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.module.ddebug_query import PRINT, Query, Site, parse_query, split_queries
from kmod_emu.module.jump_label import static_key_disable, static_key_enable
from kmod_emu.module.modules import Modules
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.kernel.va_list import Arguments
    from kmod_emu.module.ddebug_query import Change
    from kmod_emu.module.load import LoadInfo
    from kmod_emu.module.modules import Module

_MODULE_NAME, _FUNCTION_NAME, _LINE, _THREAD = 2, 4, 8, 16
_LETTERS = {PRINT: "p", _MODULE_NAME: "m", _FUNCTION_NAME: "f", _LINE: "l", _THREAD: "t"}
_HEADER = "# filename:lineno [module]function flags format\n"
_BUFFER = 4096
_SPACES = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


class Descriptor(NamedTuple):
    """One pr_debug() of a module."""

    address: int
    module: str
    site: Site
    flags: int


def dynamic_debug_setup(info: LoadInfo, module: Module) -> None:
    """Enter the module's calls."""
    section = info.image.sections[info.image.find("__dyndbg")]
    size = info.kernel.profile.struct("_ddebug").size
    module.dyndbg = (section.address, section.size // size) if section.index else (0, 0)


def descriptors(kernel: KernelCore) -> Iterator[Descriptor]:
    """Oldest module first, in each the last call first."""
    size = kernel.profile.struct("_ddebug").size
    for module in list(kernel[Modules].known.values()):
        start, count = module.dyndbg
        for index in reversed(range(count)):
            yield _descriptor(kernel, start + index * size, module.name)


def _descriptor(kernel: KernelCore, address: int, module: str) -> Descriptor:
    view = kernel.view("_ddebug", address)
    names = (view.get(name) for name in ("filename", "function", "format"))
    file, function, form = (_text(kernel, name) for name in names)
    return Descriptor(address, module, Site(file, function, form, view.field("lineno")), view.field("flags"))


def _text(kernel: KernelCore, address: int) -> str:
    return kernel.memory.read_text(address)


def show(kernel: KernelCore, task: Task) -> str:
    """The control file."""
    lines = [_HEADER]
    for one in descriptors(kernel):
        flags = "".join(letter for bit, letter in _LETTERS.items() if one.flags & bit) or "_"
        site = one.site
        form = site.format.translate(_SPACES)
        lines.append(f'{site.file}:{site.line} [{one.module}]{site.function} ={flags} "{form}"\n')
    return "".join(lines)


def write(kernel: KernelCore, task: Task, data: bytes) -> None:
    """Queries, written to the control file.

    Raises:
        KernelError: E2BIG, EINVAL.
    """
    if len(data) > _BUFFER - 1:
        kernel.printk.emit(f"dyndbg: expected <{_BUFFER} bytes into control\n", 4)
        raise KernelError(errno.E2BIG, "a query is less than a page")
    exec_queries(kernel, data.partition(b"\0")[0].decode("utf-8", "surrogateescape"))


def exec_queries(kernel: KernelCore, text: str, module: str | None = None) -> None:
    """ddebug_exec_queries(): all of them, also behind a bad one.

    Raises:
        KernelError: EINVAL, of the last bad one.
    """

    def complain(line: str) -> None:
        kernel.printk.emit(f"dyndbg: {line}\n", 3)

    failure: KernelError | None = None
    for words in split_queries(text):
        try:
            _change(kernel, *parse_query(words, module, complain))
        except KernelError as error:
            failure = error
    if failure is not None:
        raise failure


def _change(kernel: KernelCore, query: Query, change: Change) -> None:
    for one in descriptors(kernel):
        if not query.matches(one.module, one.site):
            continue
        flags = one.flags & change.mask | change.flags
        if flags == one.flags:
            continue
        view = kernel.view("_ddebug", one.address)
        if (flags ^ one.flags) & PRINT:
            switch = static_key_enable if flags & PRINT else static_key_disable
            switch(kernel, view.addressof("key"))
        view.set_field("flags", flags)


def control_node(kernel: KernelCore) -> Node:
    """The file `control`, which is in /proc and in debugfs."""
    return Node(
        0o644, read=lambda task: show(kernel, task), write=lambda task, data: write(kernel, task, data)
    )


@export("void __dynamic_pr_debug(struct _ddebug *descriptor, const char *fmt, ...)")
def __dynamic_pr_debug(kernel: KernelCore, descriptor: int, fmt: bytes, args: Arguments) -> None:
    """A pr_debug() that is turned on."""
    text = _prefix(kernel, descriptor) + vsnprintf(fmt, args, kernel.format_context)
    kernel.printk.emit(text, 7)


@export("void __dynamic_dev_dbg(struct _ddebug *descriptor, const struct device *dev, const char *fmt, ...)")
def __dynamic_dev_dbg(kernel: KernelCore, descriptor: int, dev: int, fmt: bytes, args: Arguments) -> None:
    """A dev_dbg() that is turned on (lib/dynamic_debug.c)."""
    text = device_prefix(kernel, dev).encode("utf-8", "surrogateescape") + vsnprintf(
        fmt, args, kernel.format_context
    )
    kernel.printk.emit(_prefix(kernel, descriptor) + text, 7)


def _prefix(kernel: KernelCore, descriptor: int) -> bytes:
    """dynamic_emit_prefix()."""
    view = kernel.view("_ddebug", descriptor)
    flags = view.field("flags")
    thread = f"[{kernel.sched.current.pid}] " if flags & _THREAD else ""
    where = "".join(
        f"{part}:"
        for bit, part in (
            (_MODULE_NAME, _text(kernel, view.modname)),
            (_FUNCTION_NAME, _text(kernel, view.function)),
            (_LINE, view.field("lineno")),
        )
        if flags & bit
    )
    return f"{thread}{where}{' ' if where else ''}".encode("utf-8", "surrogateescape")
