"""Linking modules: relocations alone, and the five largest of a distribution with their dependencies."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import Effort, Row, best, seconds
from kmod_emu.module.relocate import Complaints, SymbolValues, Target, apply_relocate_add

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = os.environ.get("MODULES_RELEASE", "6.1.0-56-amd64")
_COUNT = 320_000  # as many as amdgpu.ko has
LARGEST = 5
_BASE, _SYMBOL = 0xFFFF_FFFF_C000_0000, 0xFFFF_FFFF_8123_4560

# In a process of its own: load what the module needs, then time it, up to the call of its init.
_LINK = """
import resource, sys, time
from pathlib import Path
from kmod_emu import Kernel
from kmod_emu.module import init

async def no_init(kernel, function):
    return 0

init.do_one_initcall = no_init
kernel, images = Kernel(sys.argv[1]), [Path(path).read_bytes() for path in sys.argv[2:]]
for image in images[:-1]:
    kernel.insmod(image)
start = time.perf_counter()
kernel.insmod(images[-1])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measure(effort: Effort) -> list[Row]:
    """Relocations a second; seconds and peak memory where the distribution's modules are installed."""
    count = max(int(_COUNT * effort.scale), 6)
    relas = b"".join(
        struct.pack("<QIIq", 8 * index, (2, 4, 11, 11, 2, 1)[index % 6], 1, -4) for index in range(count)
    )

    def work() -> None:
        target = Target(memoryview(bytearray(8 * count)), _BASE, _BASE)
        apply_relocate_add(relas, target, SymbolValues([0, _SYMBOL], int), Complaints("m", hex))

    (taken,) = best(effort, lambda: seconds(work))
    rows = [Row("relocations", "k/s", count / taken / 1e3, None, _COUNT / 2 / 1e3)]
    if effort.scale < 1:
        return rows
    for name, paths in _largest():
        spent, peak = _link(paths)
        rows.append(Row(f"link {name}", "s", spent, None, 2, at_most=True))
        rows.append(Row(f"link {name}, peak memory", "MB", peak, None, 400, at_most=True))
    return rows


def _largest() -> Iterator[tuple[str, list[Path]]]:
    """The largest modules, each with its dependencies before it."""
    root = Path("/lib/modules") / RELEASE
    listing = root / "modules.dep"
    if not listing.is_file():
        return
    needs = {
        module: dependencies.split()
        for module, _, dependencies in (line.partition(":") for line in listing.read_text().splitlines())
    }
    for module in sorted(needs, key=lambda path: -(root / path).stat().st_size)[:LARGEST]:
        yield Path(module).stem, [root / path for path in (*reversed(needs[module]), module)]


def _link(paths: list[Path]) -> tuple[float, float]:
    result = subprocess.run(
        [sys.executable, "-c", _LINK, RELEASE, *map(str, paths)], check=True, capture_output=True, text=True
    )
    spent, peak = result.stdout.split()
    return float(spent), int(peak) * 1024 / 1e6
