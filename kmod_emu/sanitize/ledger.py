"""What each module has of the kernel's, from the call that took it to the one that gives it back.

A record is made when a function of the table in `resources.py` returns to a module's code. What is memory
ends when the allocators free it, whoever asks them to; the rest when its counterpart is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.dispatch import is_coroutine
from kmod_emu.sanitize.resources import OBJECTS, RESOURCES
from kmod_emu.sanitize.sites import Site, Sites

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.kernel.exports import Handler
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module
    from kmod_emu.sanitize.heap import Guards
    from kmod_emu.sanitize.resources import Key, Resource

_MAX_ERRNO, _MASK64 = 4095, (1 << 64) - 1


class Record(NamedTuple):
    """One thing that a module has.

    Attributes:
        serial: Counts all of them: the order in which they were taken.
        kind: Number of its row in the table.
        key: What calls name it by.
        stack: Who took it, innermost first.
    """

    serial: int
    kind: int
    key: tuple[int, ...]
    stack: tuple[Site, ...]

    @property
    def resource(self) -> Resource:
        """What kind of thing it is."""
        return RESOURCES[self.kind]

    @property
    def owner(self) -> str:
        """The module that has it."""
        return self.stack[0].module


def record_from(state: Any) -> Record:
    """A record as it was saved."""
    serial, kind, key, stack = state
    return Record(serial, kind, tuple(key), tuple(Site(*site) for site in stack))


class Ledger:
    """All records.

    Attributes:
        sites: Where calls come from.
        whole_stacks: Keep all callers, not just the one.
        guards: Told when an object with pages of its own is wanted.
        missing: Called for a call that ends something that is not there, before it runs.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.sites = Sites(kernel)
        self.whole_stacks = False
        self.guards: Guards | None = None
        self.missing: Callable[[str, Resource, tuple[int, ...]], None] = lambda name, resource, key: None
        self._serial = 0
        self._held: dict[tuple[int, tuple[int, ...]], list[Record]] = {}
        self._takes = {name: (k, key) for k, row in enumerate(RESOURCES) for name, key in row.takes.items()}
        self._gives = {name: (k, key) for k, row in enumerate(RESOURCES) for name, key in row.gives.items()}

    def around(self, handler: Handler) -> Callable[..., Any]:
        """A handler's function; one that keeps records, if it takes or gives something."""
        if handler.name in self._takes:
            return self._taking(handler, *self._takes[handler.name])
        if handler.name in self._gives:
            return self._giving(handler, *self._gives[handler.name])
        return handler.function

    def _taking(self, handler: Handler, kind: int, key: Key) -> Callable[..., Any]:
        function, direct = handler.function, RESOURCES[kind].alive is not None
        if is_coroutine(function):

            async def wait(kernel: KernelCore, *arguments: Any) -> Any:
                stack = self.stack(direct=direct)
                result = await function(kernel, *arguments)
                self._take(kind, key, arguments, result, stack)
                return result

            return wait

        if self.guards is not None and kind in OBJECTS:
            function = _guarded(function, self)

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            result = function(kernel, *arguments)
            self._take(kind, key, arguments, result, self.stack(direct=direct))
            return result

        return call

    def stack(self, *, direct: bool = False) -> tuple[Site, ...]:
        """Who makes the call that is being handled: modules' code, innermost first.

        Args:
            direct: Empty if guest code of the base kernel lies between.
        """
        site = self.sites.caller(direct=direct)
        if site is None:
            return ()
        return self.sites.stack() if self.whole_stacks else (site,)

    def _take(
        self, kind: int, key: Key, arguments: tuple[Any, ...], result: Any, stack: tuple[Site, ...]
    ) -> None:
        resource = RESOURCES[kind]
        number = int(result or 0)
        if not stack or number < 0 or number > _MASK64 - _MAX_ERRNO or (resource.memory and number <= 16):
            return
        name = key(self._kernel, arguments, number)
        if not name or not (name[0] or resource.gives):
            return
        self._serial += 1
        record = Record(self._serial, kind, name, stack)
        if resource.memory:
            self._kernel.allocations[name[0]] = record
        elif resource.alive is not None:
            self._held[kind, name] = [record]
        else:
            self._held.setdefault((kind, name), []).append(record)

    def _giving(self, handler: Handler, kind: int, key: Key) -> Callable[..., Any]:
        function = handler.function
        if is_coroutine(function):

            async def wait(kernel: KernelCore, *arguments: Any) -> Any:
                self._give(handler.name, kind, key(kernel, arguments, 0))
                return await function(kernel, *arguments)

            return wait

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            self._give(handler.name, kind, key(kernel, arguments, 0))
            return function(kernel, *arguments)

        return call

    def _give(self, name: str, kind: int, key: tuple[int, ...]) -> None:
        records = self._held.get((kind, key))
        if records:
            records.pop()
            if not records:
                del self._held[kind, key]
        elif RESOURCES[kind].strict:
            self.missing(name, RESOURCES[kind], key)

    def left_by(self, module: Module) -> Iterator[Record]:
        """What a module still has, in the order in which it was taken; not its references on itself."""
        kernel = self._kernel
        given = kernel.sched.agenda.waiting("kfree_rcu")  # back already, freed after a grace period
        records = [
            record
            for address, record in kernel.allocations.items()
            if record.owner == module.name and address not in given
        ]
        for (_, key), held in self._held.items():
            alive = held[0].resource.alive
            if alive is None or alive(kernel, key[0]):
                records += [
                    record for record in held if record.owner == module.name and key[0] != module.address
                ]
        return iter(sorted(records))

    def forget(self, module: Module) -> None:
        """A module is gone: nobody can give back what it still had."""
        allocations = self._kernel.allocations
        for address in [a for a, record in allocations.items() if record.owner == module.name]:
            del allocations[address]
        for place in list(self._held):
            kept = [record for record in self._held[place] if record.owner != module.name]
            self._held[place] = kept
            if not kept:
                del self._held[place]

    def save(self) -> Any:
        """State for a snapshot or file."""
        held = [record for records in self._held.values() for record in records]
        allocations = [[address, *record] for address, record in self._kernel.allocations.items()]
        return {"serial": self._serial, "held": [list(record) for record in held], "allocations": allocations}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._serial = state["serial"]
        self.sites.known.clear()
        self._held.clear()
        for record in map(record_from, state["held"]):
            self._held.setdefault((record.kind, record.key), []).append(record)
        self._kernel.allocations.clear()
        for address, *record in state["allocations"]:
            self._kernel.allocations[address] = record_from(record)


def _guarded(function: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    """A function that allocates, with guards around what modules get."""

    def call(kernel: KernelCore, *arguments: Any) -> Any:
        guards = ledger.guards
        assert guards is not None
        guards.wanted = bool(ledger.stack())
        try:
            return function(kernel, *arguments)
        finally:
            guards.wanted = False

    return call
