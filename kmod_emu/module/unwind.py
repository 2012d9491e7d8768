"""Undoing what a failed load has done, in the reverse order of doing it.

Only a refusal (KernelError) unwinds. A task that an oops kills holds on to everything, as in Linux: its
module stays COMING for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed
from kmod_emu.module.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Unwind:
    """Async context manager that collects what to undo.

    Args:
        printk: Prints the messages of a LoadError, before anything is undone.
    """

    def __init__(self, printk: Callable[[int, str], None]) -> None:
        self._printk = printk
        self._actions: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def on_failure(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Call `action`, a function or coroutine function, if the block is refused."""
        self._actions.append((action, arguments))

    async def __aenter__(self) -> Unwind:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KernelError) and not isinstance(error, Killed):
            for level, line in error.dmesg if isinstance(error, LoadError) else ():
                self._printk(level, line)
            for action, arguments in reversed(self._actions):
                result = action(*arguments)
                if hasattr(result, "__await__"):
                    await result
