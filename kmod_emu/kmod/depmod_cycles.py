"""Modules that need each other in a circle, as depmod tells them (kmod 30, tools/depmod.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kmod_emu.kmod.console import Console
    from kmod_emu.kmod.depmod_tree import Mod

_PATIENCE = 10_000


class _Vertex(NamedTuple):
    """A module and the way to it."""

    mod: Mod
    parent: _Vertex | None

    def way(self) -> list[Mod]:
        """The modules on the way here, the nearest first, without this one."""
        vertex, mods = self.parent, []
        while vertex is not None:
            mods.append(vertex.mod)
            vertex = vertex.parent
        return mods


class Cycles:
    """The search for circles among modules that could not be put in order.

    Args:
        console: Where messages go.
        roots: Those modules.
    """

    def __init__(self, console: Console, roots: list[Mod]) -> None:
        self._console = console
        self._roots = roots
        self._cyclic: set[Mod] = set()
        self._steps = 0

    def report(self) -> None:
        """Tell the circles, then how many modules are in them."""
        while self._roots:
            self._walk(self._roots.pop(0))
        self._console.error(f"Found {len(self._cyclic)} modules in dependency cycles!")

    def _walk(self, root: Mod) -> None:
        """Follow all ways from one module; those that come back to it are circles.

        A way that comes back to another of its modules is left there, where kmod would go round for ever;
        and there can be very many ways, so after some time only new modules are looked at.
        """
        stack = [_Vertex(root, None)]
        while stack:
            self._steps += 1
            vertex = stack.pop()
            mod = vertex.mod
            if mod.visited and mod is root:
                self._tell(vertex)
                continue
            if mod.visited and self._steps > _PATIENCE:
                continue
            mod.visited = True
            if not mod.deps:
                self._done(mod)
            elif mod not in vertex.way():
                stack += (_Vertex(dep, vertex) for dep in mod.deps)

    def _tell(self, vertex: _Vertex) -> None:
        way = vertex.way()
        self._cyclic.update(way)
        names = [os.fsdecode(mod.name) for mod in (*reversed(way), vertex.mod)]
        for mod in reversed(way):
            self._done(mod)
        self._console.error(f"Cycle detected: {' -> '.join(names)}")

    def _done(self, mod: Mod) -> None:
        if mod in self._roots:
            self._roots.remove(mod)
