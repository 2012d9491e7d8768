"""What lay in module memory that was freed: who goes there later is told what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.modules import Module, Region

_KEPT = 8


class _Former(NamedTuple):
    """A region of a module that was unloaded, or of its init code."""

    module: str
    what: str
    base: int
    size: int
    symbols: list[tuple[int, str]]


class Unloaded:
    """The regions freed last.

    Attributes:
        watchers: Told the address and size of each.
        left: What in them is still used -> its end, and by what; filled by a checker.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._regions: list[_Former] = []
        self.watchers: list[Callable[[int, int], None]] = []
        self.left: dict[int, tuple[int, str]] = {}
        kernel.faults.former = self.describe

    def note(self, module: Module, region: Region, what: str) -> None:
        """A region is about to be freed; `what` says why."""
        end = region.base + region.size
        symbols = sorted((a, name) for a, _, name in module.symbols if region.base <= a < end and name)
        former = _Former(module.name, what, region.base, region.size, symbols)
        self._regions = [former, *self._regions[: _KEPT - 1]]
        for watcher in self.watchers:
            watcher(region.base, region.size)

    def describe(self, address: int) -> str | None:
        """What an address was, the latest that is known; None for what never was a module's."""
        for former in self._regions:
            if former.base <= address < former.base + former.size:
                start, name = max(((a, n) for a, n in former.symbols if a <= address), default=(0, ""))
                place = f"{name}+{address - start:#x}" if name else "memory"
                used = (text for start, (end, text) in self.left.items() if start <= address < end)
                return f"{place} of the module {former.module}, {former.what}{next(used, '')}"
        return None

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "regions": [list(former) for former in self._regions],
            "left": [[start, *used] for start, used in self.left.items()],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._regions = [
            _Former(module, what, base, size, [(a, n) for a, n in symbols])
            for module, what, base, size, symbols in state["regions"]
        ]
        self.left = {start: (end, text) for start, end, text in state["left"]}
