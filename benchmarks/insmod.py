"""Loading and unloading a module over and over in one process."""

from __future__ import annotations

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu import Kernel, samples

_TURNS = 100


def measure(effort: Effort) -> list[Row]:
    """Insmod and rmmod of hello, pairs a second."""
    kernel, image = Kernel(), samples.path("hello").read_bytes()
    turns = max(int(_TURNS * effort.scale), 1)

    def work() -> None:
        for _ in range(turns):
            kernel.insmod(image)
            kernel.rmmod("hello")

    work()  # a first time, to translate and to parse what is kept
    (taken,) = best(effort, lambda: seconds(work))
    return [Row("insmod and rmmod of hello", "/s", turns / taken, None, 150)]
