"""Ftrace: a module's callback at the entries of functions (kernel/trace/ftrace.c)."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_ENABLED = 1  # FTRACE_OPS_FL_ENABLED


class Ftrace:
    """Hooks that are a `struct ftrace_ops`, and the functions each is to see.

    Attributes:
        filters: Struct -> places; a struct that is not here sees nothing (on a real kernel: everything).
        active: Registered structs, in order.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.filters: dict[int, list[int]] = {}
        self.active: list[int] = []

    async def before(self, hook: int, place: int, regs: StructView) -> bool:
        """Call `func`; it may send the caller elsewhere by `regs.ip`."""
        kernel = self._kernel
        ops = kernel.view("ftrace_ops", hook)
        parent = kernel.memory.read_u64(regs.sp)
        regs.ip = place
        await kernel.call_guest(ops.func, place, parent, hook, regs.address)
        return bool(regs.ip != place)

    async def after(self, hook: int, place: int, regs: StructView) -> None:
        """Nothing behind the entry."""

    def update(self, hook: int) -> None:
        """Bring the marks up to date with a struct's filter."""
        probes, wanted = self._kernel.probes, self.filters.get(hook, [])
        armed = probes.places("ftrace", hook)
        for place in armed:
            if hook not in self.active or place not in wanted:
                probes.remove(place, "ftrace", hook)
        if hook in self.active:
            for place in wanted:
                if place not in armed:
                    probes.add(place, "ftrace", hook)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[[hook, list(places)] for hook, places in self.filters.items()], list(self.active)]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.filters = {hook: list(places) for hook, places in state[0]}
        self.active = list(state[1])


@export("int register_ftrace_function(struct ftrace_ops *ops)", Fidelity.APPROXIMATE)
def register_ftrace_function(kernel: KernelCore, ops: StructView) -> int:
    """Call `ops->func` at the functions of its filter (kernel/trace/ftrace.c).

    Without a filter a real kernel calls it at every function; here it then sees none.
    """
    if ops.address in kernel.ftrace.active:
        return -errno.EBUSY
    kernel.ftrace.active.append(ops.address)
    ops.set("flags", ops.get("flags") | _ENABLED)
    kernel.ftrace.update(ops.address)
    return 0


@export("int unregister_ftrace_function(struct ftrace_ops *ops)")
def unregister_ftrace_function(kernel: KernelCore, ops: StructView) -> int:
    """Call it no longer (kernel/trace/ftrace.c)."""
    if ops.address not in kernel.ftrace.active:
        kernel.warnings.warn("kernel/trace/ftrace.c", 355, "", "__unregister_ftrace_function+0x93/0xb0")
        return -errno.EBUSY
    kernel.ftrace.active.remove(ops.address)
    ops.set("flags", ops.get("flags") & ~_ENABLED)
    kernel.ftrace.update(ops.address)
    return 0


@export("int ftrace_set_filter_ip(struct ftrace_ops *ops, unsigned long ip, int remove, int reset)")
def ftrace_set_filter_ip(kernel: KernelCore, ops: StructView, ip: int, remove: int, reset: int) -> int:
    """Add a function to a filter by its address, or take it out (kernel/trace/ftrace.c)."""
    places = kernel.ftrace.filters.setdefault(ops.address, [])
    if reset:
        places.clear()
    location = kernel.locate(ip)
    if location is None or location.offset:
        return -errno.EINVAL
    if remove:
        if ip not in places:
            return -errno.ENOENT
        places.remove(ip)
    elif ip not in places:
        places.append(ip)
    kernel.ftrace.update(ops.address)
    return 0


@export("int ftrace_set_filter(struct ftrace_ops *ops, unsigned char *buf, int len, int reset)")
def ftrace_set_filter(kernel: KernelCore, ops: StructView, buf: int, len: int, reset: int) -> int:
    """Add functions to a filter by a pattern (kernel/trace/ftrace.c)."""
    places = kernel.ftrace.filters.setdefault(ops.address, [])
    if reset:
        places.clear()
    if buf and len > 0:
        pattern = kernel.memory.read(buf, len).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        found = _matching(kernel, pattern)
        if not found:
            raise KernelError(errno.EINVAL, f"no function matches {pattern}")
        places.extend(place for place in found if place not in places)
    kernel.ftrace.update(ops.address)
    return 0


def _matching(kernel: KernelCore, pattern: str) -> list[int]:
    if not set(pattern) & set("*?["):
        address = kernel.lookup_name(pattern)
        return [address] if address else []
    return [place for name, place in kernel.symbols.functions() if fnmatch.fnmatchcase(name, pattern)]


@export("void ftrace_free_filter(struct ftrace_ops *ops)")
def ftrace_free_filter(kernel: KernelCore, ops: StructView) -> None:
    """Forget a filter (kernel/trace/ftrace.c)."""
    kernel.ftrace.filters.pop(ops.address, None)
    kernel.ftrace.update(ops.address)
