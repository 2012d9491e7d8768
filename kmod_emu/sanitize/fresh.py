"""Memory that a program gets though nobody wrote it: kmalloc() without __GFP_ZERO, then copy_to_user().

New objects hold a pattern that hardly occurs otherwise; where a copy to a program has it, nobody wrote there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.exports import Handler
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.sanitize.sites import Sites

_GFP_ZERO = 0x100
_PATTERN = bytes.fromhex("d19eb387c5a9e296")
_LONG = re.compile(b"|".join(re.escape((_PATTERN * 2)[at : at + 4]) for at in range(len(_PATTERN))))
# Functions that return memory as it is, and which of their arguments says that it is to be zeroed.
_FLAGS = {
    "__kmalloc": 1, "__kmalloc_node": 1, "__kmalloc_noprof": 1, "__kmalloc_cache_noprof": 1,
    "kmalloc_trace": 1, "kmem_cache_alloc_trace": 1, "kmalloc_node_trace": 1, "kmalloc_large": 1,
    "kmalloc_large_node": 1,
}  # fmt: skip
# Functions that hand memory to programs: where it is, and how much, among their arguments.
_COPIES: dict[str, Callable[[KernelCore, tuple[Any, ...]], tuple[int, int]]] = {
    "_copy_to_user": lambda kernel, a: (a[1], a[2]),
    "copy_to_user": lambda kernel, a: (a[1], a[2]),
    "_copy_to_iter": lambda kernel, a: (a[0], a[1]),
    "seq_write": lambda kernel, a: (a[1], a[2]),
}


class FreshMemory:
    """Fills new objects of modules, and looks at what goes to programs."""

    def __init__(self, kernel: KernelCore, sites: Sites) -> None:
        self._kernel, self._sites = kernel, sites
        self._told: set[str] = set()

    def around(self, handler: Handler, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler's function, or one that fills what it returns or looks at what it copies."""
        flags, source = _FLAGS.get(handler.name), _COPIES.get(handler.name)
        if flags is not None:

            def allocate(kernel: KernelCore, *arguments: Any) -> Any:
                address = function(kernel, *arguments)
                if not arguments[flags] & _GFP_ZERO and address in kernel.allocations:
                    size = kernel.heap.live[address]
                    kernel.memory.write(address, (_PATTERN * (size // len(_PATTERN) + 1))[:size])
                return address

            return allocate
        if source is not None:

            def copy(kernel: KernelCore, *arguments: Any) -> Any:
                self._look(handler.name, *source(kernel, arguments))
                return function(kernel, *arguments)

            return copy
        return function

    def _look(self, name: str, address: int, size: int) -> None:
        """Whether memory that is to be copied holds what nobody wrote."""
        kernel = self._kernel
        block = kernel.heap.owner_of(address)
        data = kernel.memory.read(address, size) if block and 0 < size <= kernel.heap.live[block] else b""
        offset = _unwritten(data, address)
        stack = self._sites.stack() if offset is not None else ()
        if not stack or (place := self._sites.place(stack[0])) in self._told:
            return
        self._told.add(place)
        piece, show = kernel.allocations.get(block), self._sites.show
        allocation = piece[1] if piece else ()
        origin = f" that {self._sites.place(allocation[0])} allocates" if allocation else ""
        text = (
            f"{name.lstrip('_')}() at {place} gives a program bytes that nobody wrote, at offset"
            f" {address + (offset or 0) - block} of a heap object of {kernel.heap.live[block]} bytes{origin}:"
            " clear it first, by kzalloc() or memset(); structures have holes"
        )
        stacks = {"access": [show(site) for site in stack], "allocation": [show(site) for site in allocation]}
        rows = [f"{at:+5d}  {data[at : at + 16].hex(' ')}" for at in range(0, min(size, 64), 16)]
        kernel.findings.note("uninitialised memory", text, stacks, rows)


def _unwritten(data: bytes, address: int) -> int | None:
    """Where bytes have the pattern: four in a row, or three at the end of an aligned word of a few bytes."""
    found = _LONG.search(data)
    end = found.start() if found else len(data)
    for start in range(-address % 4, min(len(data) - 3, end), 4):
        lane = address + start & 7
        if data[start + 1 : start + 4] == _PATTERN[lane + 1 : lane + 4]:
            return start + 1
    return found.start() if found else None
