"""Collecting steps, for the JSON output and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.observe.steps import describe

if TYPE_CHECKING:
    from kmod_emu.kernel.events import Event
    from kmod_emu.observe.steps import Step


class Recorder:
    """A listener that keeps every step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, event: Event) -> None:
        """Keep the event if it is a step."""
        step = describe(event)
        if step is not None:
            self.steps.append(step)
