"""Events: what happened, for whoever listens.

The kernel emits; narrator, tracer, recorder and grader listen. Emitting costs one test when nobody does.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Event(NamedTuple):
    """One thing that happened.

    Attributes:
        name: What, in the kernel's words: `elf_validity_check`, `apply_relocate_add`, `export`.
        detail: The facts, by name; plain values only.
    """

    name: str
    detail: dict[str, Any]


class EventBus:
    """Passes events to listeners, in the order in which they were added."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Add a listener; call the result to remove it again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @contextmanager
    def only(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Inside the block the others hear nothing: what happens has been told before."""
        listeners, self._listeners = self._listeners, [listener]
        try:
            yield
        finally:
            self._listeners = listeners

    def emit(self, name: str, /, **detail: Any) -> None:
        """Tell all listeners."""
        if self._listeners:
            event = Event(name, detail)
            for listener in self._listeners:
                listener(event)
