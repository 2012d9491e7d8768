"""What each module has of the kernel's, from the call that took it to the one that gives it back.

A record is made when a function of the table in `resources.py` returns to a module's code. What is memory
ends when the allocators free it, whoever asks them to; the rest when its counterpart is called.
"""

from __future__ import annotations

from itertools import count
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
    from kmod_emu.sanitize.sites import Stack

    # A piece of memory that a module has, as `KernelCore.allocations` keeps it: kind, who took it, serial.
    # For objects, which come and go so often, it is the same one where the same call is made, its serial 0.
    Piece = tuple[int, Stack, int]

_MASK64 = (1 << 64) - 1
_MAX_ERRNO = 4095
_KERNELS = -1  # stands for the number of what is the kernel's own business
_MOST_ENDED = 1024
_NO_MEMORY, _ERRORS = 16, _MASK64 - _MAX_ERRNO  # results up to the one, and from the other on, are no memory


class Record(NamedTuple):
    """One thing that a module has.

    Attributes:
        serial: Counts all of them but objects: the order in which they were taken.
        kind: Number of its row in the table.
        key: What calls name it by.
        stack: Who took it, innermost first.
    """

    serial: int
    kind: int
    key: tuple[int, ...]
    stack: Stack

    @property
    def resource(self) -> Resource:
        """What kind of thing it is."""
        return RESOURCES[self.kind]

    @property
    def owner(self) -> str:
        """The module that has it."""
        return self.stack[0].module


def stack_from(state: Any) -> Stack:
    """A stack as it was saved."""
    return tuple(Site(*site) for site in state)


class Ledger:
    """All records.

    Attributes:
        sites: Where calls come from.
        guards: Told when an object with pages of its own is wanted.
        only_direct: Whether leaks are only what modules took themselves: a kernel whose own code allocates
            keeps some of it beyond the call that it did so in.
        missing: Called for a call that ends something that is not there, before it runs; with who ended it.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.sites = Sites(kernel)
        self.guards: Guards | None = None
        self.only_direct = False
        self.missing: Callable[[str, Resource, Stack], None] = lambda name, resource, ended: None
        self._serials = count(1)
        self._held: dict[tuple[int, tuple[int, ...]], list[Record]] = {}
        self._ended: dict[tuple[int, tuple[int, ...]], Stack] = {}  # what somebody ended, and who
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
        function, resource = handler.function, RESOURCES[kind]
        if resource.memory:
            return self._allocating(function, kind, key)
        if is_coroutine(function):

            async def wait(kernel: KernelCore, *arguments: Any) -> Any:
                stack = self._stack(resource)
                result = await function(kernel, *arguments)
                self._take(kind, key, arguments, result, stack)
                return result

            return wait

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            result = function(kernel, *arguments)
            self._take(kind, key, arguments, result, self._stack(resource))
            return result

        return call

    def _stack(self, resource: Resource) -> Stack:
        """Who makes the call being handled; empty where only the module's own calls count and it is none."""
        own = resource.alive is not None or self.only_direct
        return () if own and not self.sites.direct else self.sites.stack()

    def _take(self, kind: int, key: Key, arguments: tuple[Any, ...], result: Any, stack: Stack) -> None:
        resource, number = RESOURCES[kind], int(result or 0)
        if not stack or number < 0 or number > _ERRORS:
            return
        name = key(self._kernel, arguments, number)
        if not name or not (name[0] or resource.gives):
            return
        record = Record(next(self._serials), kind, name, stack)
        self._ended.pop((kind, name), None)
        if resource.alive is not None:
            self._held[kind, name] = [record]
        else:
            self._held.setdefault((kind, name), []).append(record)

    def _allocating(self, function: Callable[..., Any], kind: int, key: Key) -> Callable[..., Any]:
        """Around a function that returns memory."""
        if kind in OBJECTS and self.guards is None and not is_coroutine(function):
            return self._allocating_objects(function, kind)
        allocations, stack = self._kernel.allocations, self.sites.stack
        guards = self.guards if kind in OBJECTS else None

        def keep(result: int, callers: Stack) -> None:
            if callers and result and _NO_MEMORY < result < _ERRORS:
                (address,) = key(self._kernel, (), result)
                allocations[address] = kind, callers, next(self._serials) if self._counts else _KERNELS

        if is_coroutine(function):

            async def wait(kernel: KernelCore, *arguments: Any) -> Any:
                callers = stack()
                result = await function(kernel, *arguments)
                keep(result, callers)
                return result

            return wait

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            callers = stack()
            if guards is not None:
                guards.wanted = bool(callers)
            try:
                result = function(kernel, *arguments)
            finally:
                if guards is not None:
                    guards.wanted = False
            keep(result, callers)
            return result

        return call

    @property
    def _counts(self) -> bool:
        """Whether what is being taken has to be given back by the module that is behind it."""
        return not self.only_direct or self.sites.direct

    def _allocating_objects(self, function: Callable[..., Any], kind: int) -> Callable[..., Any]:
        """Around kmalloc and its like where little is to be known: this is done most often of all."""
        allocations, call_made, caller = self._kernel.allocations, self._kernel.traps.call, self.sites.caller
        pieces: dict[int, Piece] = {}  # by return address
        self.sites.caches.append(pieces)

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            result = function(kernel, *arguments)
            if result > _NO_MEMORY:
                place = call_made()[1]
                piece = pieces.get(place)
                if piece is None:
                    piece = kind, caller(), 0 if self._counts else _KERNELS
                    if self.sites.direct and place != kernel.traps.return_address:
                        pieces[place] = piece
                if piece[1]:
                    allocations[result] = piece
            return result

        return call

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
        resource, records = RESOURCES[kind], self._held.get((kind, key))
        if records:
            records.pop()
            if not records:
                del self._held[kind, key]
                if resource.once:
                    self._end(kind, key)
        elif resource.strict or (kind, key) in self._ended:
            self.missing(name, resource, self._ended.get((kind, key), ()))

    def _end(self, kind: int, key: tuple[int, ...]) -> None:
        if len(self._ended) > _MOST_ENDED:
            self._ended.clear()
        self._ended[kind, key] = self.sites.stack()

    def left_by(self, module: Module) -> Iterator[Record]:
        """What a module still has: objects, then the rest in the order in which it was taken.

        Not its references on itself.
        """
        kernel = self._kernel
        given = kernel.sched.agenda.waiting("kfree_rcu")  # back already, freed after a grace period
        records = [
            Record(serial, kind, (address,), stack)
            for address, (kind, stack, serial) in kernel.allocations.items()
            if stack[0].module == module.name and serial != _KERNELS and address not in given
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
        self._ended.clear()
        allocations = self._kernel.allocations
        for address in [a for a, (_, stack, _) in allocations.items() if stack[0].module == module.name]:
            del allocations[address]
        for place in list(self._held):
            kept = [record for record in self._held[place] if record.owner != module.name]
            self._held[place] = kept
            if not kept:
                del self._held[place]

    def save(self) -> Any:
        """State for a snapshot or file."""
        held = [list(record) for records in self._held.values() for record in records]
        allocations = [[address, *piece] for address, piece in self._kernel.allocations.items()]
        return {"serial": next(self._serials), "held": held, "allocations": allocations}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._serials = count(state["serial"])
        self.sites.clear()
        self._held.clear()
        self._ended.clear()
        for serial, kind, key, stack in state["held"]:
            record = Record(serial, kind, tuple(key), stack_from(stack))
            self._held.setdefault((kind, record.key), []).append(record)
        self._kernel.allocations.clear()
        for address, kind, stack, serial in state["allocations"]:
            self._kernel.allocations[address] = kind, stack_from(stack), serial
