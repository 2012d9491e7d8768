"""What the checks cost a module that allocates and copies a lot, against the same without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel, samples

if TYPE_CHECKING:
    from collections.abc import Callable

_TURNS = 20_000
_AIMS = {"default": 1.2, "all": 5.0}


def measure(effort: Effort) -> list[Row]:
    """Milliseconds from insmod to rmmod of the sample `churn`."""
    turns = max(int(_TURNS * effort.scale), 1)
    plain, *checked = best(effort, *(_side(level, turns) for level in ("off", *_AIMS)))
    return [
        Row(f"allocating and copying, checks {level}", "ms", took * 1e3, plain * 1e3, aim, at_most=True)
        for (level, aim), took in zip(_AIMS.items(), checked, strict=True)
    ]


def _side(level: str, turns: int) -> Callable[[], float]:
    kernel, image = Kernel(sanitize=level), samples.path("churn").read_bytes()

    def work() -> None:
        kernel.insmod(image, f"turns={turns}")
        kernel.rmmod("churn")

    return lambda: seconds(work)
