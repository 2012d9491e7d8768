"""Places in guest code where somebody wants to be called: the ground of kprobes and ftrace.

A place is marked by `int3`, as the kernel marks kprobes (arch/x86/kernel/kprobes/core.c). When guest code
gets there, a coroutine puts its registers on the task's stack as a `struct pt_regs`, calls the hooks,
executes the instruction that was there, and lets the guest go on with what the hooks made of the registers.
A place that nobody looks at costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.errors import KernelError
from kmod_emu.kernel import ptregs
from kmod_emu.kernel.preempt import preempt_count_add
from kmod_emu.machine.cpu import StopReason
from kmod_emu.machine.memory import EXEC
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

INT3 = 0xCC


class Kind(Protocol):
    """How hooks of one kind are called; a hook is the address of a struct of the guest's."""

    async def before(self, hook: int, place: int, regs: StructView) -> bool:
        """Before the instruction; True: go on at `regs.ip`, without executing it."""

    async def after(self, hook: int, place: int, regs: StructView) -> None:
        """Behind the instruction."""


class Probes:
    """The marked places, and what is under the marks.

    Attributes:
        kinds: Who serves hooks, by name of the kind.
        hooks: Place -> (kind, struct) of each hook, in order.
        original: Place -> the byte under the mark.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.kinds: dict[str, Kind] = {}
        self.hooks: dict[int, list[tuple[str, int]]] = {}
        self.original: dict[int, int] = {}

    # --- marks --------------------------------------------------------------------------------------

    def add(self, place: int, kind: str, hook: int) -> None:
        """Call a hook at a place, behind those that are there.

        Raises:
            KernelError: EINVAL, no code is there.
        """
        if not place >> 63 or not self._kernel.memory.mapped(place, EXEC):
            raise KernelError(errno.EINVAL, f"{place:#x} is no kernel code")
        self.hooks.setdefault(place, []).append((kind, hook))
        if place not in self.original:
            self.original[place] = self._kernel.memory.read_u8(place)
            self._write(place, INT3)

    def remove(self, place: int, kind: str, hook: int) -> None:
        """Call it no longer."""
        hooks = self.hooks.get(place, [])
        if (kind, hook) in hooks:
            hooks.remove((kind, hook))
        if not hooks and place in self.original:
            self._write(place, self.original.pop(place))
            del self.hooks[place]

    def places(self, kind: str, hook: int) -> list[int]:
        """Where a hook is called."""
        return [place for place, hooks in self.hooks.items() if (kind, hook) in hooks]

    def forget(self, start: int, size: int) -> None:
        """The code is freed; probes on it are gone, as in Linux."""
        for place in [place for place in self.original if start <= place < start + size]:
            del self.original[place], self.hooks[place]

    def _write(self, place: int, byte: int) -> None:
        self._kernel.memory.write(place, bytes((byte,)))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[place, self.original[place], list(hooks)] for place, hooks in self.hooks.items()]

    def load(self, state: Any) -> None:
        """Put saved state back; the marks are in the saved memory."""
        self.original = {place: byte for place, byte, _ in state}
        self.hooks = {place: [(kind, hook) for kind, hook in hooks] for place, _, hooks in state}

    # --- hits ---------------------------------------------------------------------------------------

    def hit(self, rip: int) -> Coroutine[Any, Any, int] | None:
        """Guest code stopped at an int3: what to do, or None if it is its own."""
        place = self.marks(rip)
        return None if place is None else self._serve(place)

    def marks(self, rip: int) -> int | None:
        """The place whose mark guest code has just run into."""
        return next((place for place in (rip - 1, rip) if place in self.original), None)

    async def _serve(self, place: int) -> int:
        """Call the hooks, preemption off; where the guest goes on."""
        kernel = self._kernel
        regs = kernel.view("pt_regs", kernel.sched.current.activations[-1].rsp)
        ptregs.fill(kernel, regs, place + 1)
        preempt_count_add(kernel, 1)
        for kind, hook in list(self.hooks.get(place, ())):
            if await self.kinds[kind].before(hook, place, regs):
                preempt_count_add(kernel, -1)
                ptregs.apply(kernel, regs)
                return regs.ip
        ptregs.apply(kernel, regs)
        rip = self._step(place)
        ptregs.fill(kernel, regs, rip)
        for kind, hook in list(self.hooks.get(place, ())):
            await self.kinds[kind].after(hook, place, regs)
        preempt_count_add(kernel, -1)
        ptregs.apply(kernel, regs)
        return rip

    def _step(self, place: int) -> int:
        """Execute the instruction under the mark; the address behind it."""
        if place not in self.original:  # a hook removed the last mark
            return place
        self._write(place, self.original[place])
        stop = self._kernel.cpu.run(place, count=1)
        if stop.reason is StopReason.COUNT:
            self._write(place, INT3)
        return stop.rip  # else it faulted: it is executed again, without the mark, and faults for real
