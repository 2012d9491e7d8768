"""A module's memory when its relocations are applied and its init has not run yet, and where two differ."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kernel import layout
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kmod_emu.kernel.events import Event
    from kmod_emu.module.modules import Module
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_WORD = 8
_HEAP = range(layout.PAGE_OFFSET, layout.VMALLOC_START)
_LETTERS = ((READ, "r"), (WRITE, "w"), (EXEC, "x"))


class Piece(NamedTuple):
    """A part of it: a region of the module area, or its per-CPU variables.

    Attributes:
        permissions: Of each page, such as "r-x".
    """

    name: str
    address: int
    contents: bytes
    permissions: list[str]


class Look:
    """A listener that looks at a module's memory at the moment when its init is called."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self.pieces: list[Piece] = []
        self.sections: list[tuple[str, int, int]] = []

    def __call__(self, event: Event) -> None:
        """Look, the first time."""
        if event.name == "do_one_initcall" and not self.pieces:
            self.at(self._kernel[Modules].holding(event.detail["address"]))

    def at(self, module: Module | None) -> None:
        """Look at a module."""
        if module is None:
            return
        memory = self._kernel.memory
        self.sections = module.sections
        for region in module.regions.values():
            pages = range(region.base, region.base + region.size, PAGE_SIZE)
            permissions = [_permissions(self._kernel, page) for page in pages]
            contents = memory.read(region.base, region.size)
            self.pieces.append(Piece(region.name, region.base, contents, permissions))
        if percpu := module.view.get("percpu"):
            contents = memory.read(self._kernel.percpu.address(percpu), module.view.percpu_size)
            self.pieces.append(Piece("per-CPU variables", percpu, contents, []))


def _permissions(kernel: VmlinuxKernel, page: int) -> str:
    return "".join(letter if kernel.memory.mapped(page, bit) else "-" for bit, letter in _LETTERS)


def different(ours: Look, theirs: Look) -> Iterator[str]:
    """Where two modules' memory differs, a sentence each."""
    if [piece[:2] for piece in ours.pieces] != [piece[:2] for piece in theirs.pieces]:
        mine, its = (
            ", ".join(f"{name} {address:#x}" for name, address, *_ in look.pieces) or "none"
            for look in (ours, theirs)
        )
        yield f"memory: ours {mine}, the kernel's {its}"
        return
    for here, there in zip(ours.pieces, theirs.pieces, strict=True):
        if len(here.contents) != len(there.contents):
            yield f"{here.name}: ours {len(here.contents)} bytes, the kernel's {len(there.contents)}"
        for page, (a, b) in enumerate(zip(here.permissions, there.permissions, strict=False)):
            if a != b:
                place = _place(here.address + page * PAGE_SIZE, here, ours.sections)
                yield f"permissions of {place}: ours {a}, the kernel's {b}"
        yield from _bytes(here, there, ours.sections)


def _bytes(here: Piece, there: Piece, sections: Sequence[tuple[str, int, int]]) -> Iterator[str]:
    if here.contents == there.contents:
        return
    for start in range(0, len(here.contents), PAGE_SIZE):
        a, b = here.contents[start : start + PAGE_SIZE], there.contents[start : start + PAGE_SIZE]
        if a == b:
            continue
        code = here.permissions and "x" in here.permissions[start // PAGE_SIZE]
        for at in range(0, len(a), _WORD):
            mine, its = a[at : at + _WORD], b[at : at + _WORD]
            if mine != its and (code or not (_on_heap(mine) and _on_heap(its))):
                place = _place(here.address + start + at, here, sections)
                yield f"{place}: ours {mine.hex()}, the kernel's {its.hex()}"


def _on_heap(word: bytes) -> bool:
    """Whether it points to an object of the heap: the loaders need different ones, and leave other holes."""
    return int.from_bytes(word, "little") in _HEAP


def _place(address: int, piece: Piece, sections: Sequence[tuple[str, int, int]]) -> str:
    with suppress(StopIteration):
        name, start = next((name, start) for name, start, size in sections if start <= address < start + size)
        return f"{name}+{address - start:#x}"
    return f"{piece.name}+{address - piece.address:#x}"
