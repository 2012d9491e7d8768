"""The checkers of one machine."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kmod_emu.kernel.errname import errname
from kmod_emu.machine.memory import PageFault
from kmod_emu.module.modules import Modules
from kmod_emu.module.unloaded import Unloaded
from kmod_emu.sanitize.fresh import FreshMemory
from kmod_emu.sanitize.heap import HeapChecker
from kmod_emu.sanitize.inject import Injector
from kmod_emu.sanitize.ledger import Ledger
from kmod_emu.sanitize.level import Level
from kmod_emu.sanitize.order import OrderChecker
from kmod_emu.sanitize.resources import OBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.exports import Handler
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module
    from kmod_emu.sanitize.ledger import Record
    from kmod_emu.sanitize.resources import Resource
    from kmod_emu.sanitize.sites import Stack


_NEAR = 96  # bytes, as large as what timers and work are
_TAKES_SHOWN = 3  # names of functions in a sentence
_JOINT = re.compile(r"(.*?)((?: of | in | on )|$)(.*)")


class Sanitizer:
    """What watches the modules of a machine."""

    def __init__(self, kernel: KernelCore, level: Level) -> None:
        self._kernel, self.level = kernel, level
        self.ledger = Ledger(kernel)
        self.heap: HeapChecker | None = None
        self._injector: Injector | None = None
        if level is Level.OFF:
            return
        self.ledger.missing = self._nothing_there
        self.heap = HeapChecker(kernel, self.ledger, guarded=level is Level.ALL)
        order = OrderChecker(kernel, self.ledger.sites)
        around = self.ledger.around
        kernel.traps.around = lambda handler: order.around(handler, around(handler))
        if level is Level.ALL:
            fresh, watched = FreshMemory(kernel, self.ledger.sites), kernel.traps.around
            kernel.traps.around = lambda handler: fresh.around(handler, watched(handler))
        kernel[Modules].leaving.append(self._leaving)
        kernel[Unloaded].watchers.append(self.ledger.sites.forget)

    def inject(self, nth: int | None) -> Injector:
        """Let the nth call fail that modules make from now on, of those that may; 0 for none.

        Call it before the first module is loaded: exports that have been called are not watched anew. With
        None, what is counted stays as it is.
        """
        if self._injector is None:
            injector = self._injector = Injector(self.ledger)
            watched = self._kernel.traps.around

            def around(handler: Handler) -> Callable[..., Any]:
                return watched(handler._replace(function=injector.around(handler, handler.function)))

            self._kernel.traps.around = around
        if nth is not None:
            self._injector.arm(nth)
        return self._injector

    def _leaving(self, module: Module) -> None:
        """A module's exit has run, or its init has failed: it should have nothing left."""
        left = list(self.ledger.left_by(module))
        for record in left:
            if self.heap is not None and record.kind in OBJECTS:
                (address,) = record.key
                self.heap.check(address, record.stack, self._kernel.heap.live.get(address, 0))
        for record in left:
            self._remember_use(record, module)
        for _, group in groupby(left, key=lambda record: (record.kind, record.stack)):
            self._report_leak(module, list(group))
        self.ledger.forget(module)

    def _remember_use(self, record: Record, module: Module) -> None:
        """What is still called when nothing is there any more: who goes there is told why."""
        kernel, resource, key = self._kernel, record.resource, record.key[0]
        if resource.function is None:
            return
        try:
            function = resource.function(kernel, key)
        except (PageFault, LookupError):
            return
        place = self.ledger.sites.place(record.stack[0], module)
        text = f", but is used by the {resource.kind} from {place} that it left behind"
        following = (address for address, _, name in module.symbols if name and address > function)
        left = kernel[Unloaded].left
        left[function] = min(following, default=function + _NEAR), text
        left[key] = key + _NEAR, text

    def _report_leak(self, module: Module, records: list[Record]) -> None:
        first = records[0]
        resource, sites = first.resource, self.ledger.sites
        failed = module.init_rc is not None and module.init_rc < 0
        when = f"init of {module.name} failed ({errname(-module.init_rc)}) and" if failed else module.name  # type: ignore[operator]
        who = "the error path" if failed else "exit"
        things = self._things(records)
        place = sites.place(first.stack[0], module)
        text = f"{when} leaves {things} behind, from {place}: {who} must call {resource.undo}"
        stack = [sites.show(site, module) for site in first.stack]
        self._kernel.findings.note("leak", text, {"allocation": stack})

    def _things(self, records: list[Record]) -> str:
        """How many of what, and of which size."""
        kind = records[0].resource.kind
        sizes = {self._kernel.heap.live.get(record.key[0], 0) for record in records}
        size = sizes.pop() if len(sizes) == 1 else 0
        of = f" of {size} bytes" if size and records[0].kind in OBJECTS else ""
        if len(records) > 1:
            return f"{len(records)} {_plural(kind)}{of}"
        return f"{_a(kind)}{of}"

    def _nothing_there(self, name: str, resource: Resource, ended: Stack) -> None:
        """A call ends what nobody has begun, or who did it has `ended` already."""
        stack = self.ledger.sites.stack()
        if not stack:
            return
        sites = self.ledger.sites
        takes = " or ".join(f"{take}()" for take in list(resource.takes)[:_TAKES_SHOWN])
        why = f"{takes} was not called for it, or failed"
        if ended:
            why = f"it was ended at {sites.place(ended[0])}; do that once"
        text = f"{name}() at {sites.place(stack[0])} ends {_a(resource.kind)} that is not there: {why}"
        stacks = {"access": stack, "free": ended}
        shown = {what: [sites.show(site) for site in found] for what, found in stacks.items() if found}
        self._kernel.findings.note("double unregister", text, shown)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {"ledger": self.ledger.save(), "heap": self.heap.save() if self.heap is not None else None}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.ledger.load(state["ledger"])
        if self.heap is not None and state["heap"] is not None:
            self.heap.load(state["heap"])


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _plural(kind: str) -> str:
    """The plural of a kind: "entries in /proc"."""
    head, joint, rest = _JOINT.match(kind).groups()  # type: ignore[union-attr]
    ending = {"s": ("", "es"), "y": ("y", "ies")}.get(head[-1], ("", "s"))
    return f"{head.removesuffix(ending[0])}{ending[1]}{joint}{rest}"
