"""Many modules on a distribution's kernel: how many a second, and what going back to a snapshot costs."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.linking import LARGEST, RELEASE
from benchmarks.timing import Effort, Row, best
from kmod_emu.errors import KernelError
from kmod_emu.uapi.errno import ECANCELED

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.api import Kernel
    from kmod_emu.kernel.events import Event
    from kmod_emu.sweep.tree import Target
    from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

_SAMPLE = 240  # modules
_WORKERS = 2
_RUNS = 6  # of modules that lie behind each other, as a worker of a sweep gets them
_PAGES, _PAGE = 4096, 4096  # written, of 32,768 that the machine has; bytes
_AT_REST, _A_PAGE = 2.0, 0.01  # milliseconds, without any written and for each of them
_LONGEST = 60.0  # seconds that an init may take


def _seconds(work: Callable[[], object]) -> float:
    """Processor time: others may use the machine too."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(effort: Effort) -> list[Row]:
    """Nothing where that kernel is not installed."""
    from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

    image = Path(f"/boot/vmlinuz-{RELEASE}")
    if not os.access(image, os.R_OK):
        return []
    rows = [*_going_back(effort, VmlinuxKernel(image)), *_modules(effort, str(image))]
    if effort.scale >= 1:
        for loader in Loader:
            rows += _links(str(image), loader)
    return rows


def _going_back(effort: Effort, kernel: VmlinuxKernel) -> list[Row]:
    """What a snapshot and the way back to it cost, by how much was written in between."""
    place = kernel.vmalloc.allocate(_PAGES * _PAGE)
    rows = []
    for pages in (0, _PAGES):

        def turn(pages: int = pages) -> float:
            moment = kernel.snapshot()
            for page in range(pages):
                kernel.memory.write_u64(place + page * _PAGE, page + 1)
            return _seconds(lambda: kernel.restore(moment))

        (taken,) = best(effort, turn)
        aim = _AT_REST + pages * _A_PAGE
        rows.append(
            Row(f"back to a snapshot, {pages} pages written", "ms", taken * 1e3, None, aim, at_most=True)
        )
    return rows


def _targets() -> list[Target]:
    from kmod_emu.sweep.tree import read_tree

    return sorted(read_tree(f"/lib/modules/{RELEASE}"), key=lambda target: target.needs)


def _modules(effort: Effort, image: str) -> list[Row]:
    """How many modules with what they need, looks at what init added and rmmod, by processor time."""
    from kmod_emu.sweep.one import Setup

    targets = _targets()
    run = max(int(_SAMPLE * effort.scale) // _RUNS, 1)
    starts = range(0, len(targets), -(-len(targets) // _RUNS))
    sample = [target for start in starts for target in targets[start : start + run]]
    machine = Setup(None, sample[0].file, _LONGEST, image).machine()
    taken = _seconds(lambda: [machine.sweep(target) for target in sample])
    rate = _WORKERS * len(sample) / taken
    return [Row("modules swept on Debian's kernel, two processors", "/s", rate, None, 40)]


def _links(image: str, loader: Loader) -> list[Row]:
    """The largest modules: the system call up to the call of init, by processor time."""
    from kmod_emu.sweep.one import Setup

    rows, targets = [], _targets()
    asked_for = [target.file for target in targets if target.name == "crc32c_generic"]  # by libcrc32c
    for target in sorted(targets, key=lambda target: -Path(target.file).stat().st_size)[:LARGEST]:
        kernel = Setup(None, target.file, _LONGEST, image, loader=loader.value).boot()
        for file in asked_for + target.needs:
            with suppress(KernelError):  # what it is for may not be there
                kernel.insmod(file)
        rows.append(link(kernel, target.file, f"link {target.name} on Debian's kernel by {loader.value}"))
    return rows


def link(kernel: Kernel, file: str, name: str) -> Row:
    """How long a module takes from its system call to the call of its init, which is not called."""
    began = ended = 0.0
    failure = "its init was never called"

    def heard(event: Event) -> None:
        nonlocal began, ended
        if event.name == "syscall" and event.detail["name"] == "init_module":
            began = time.process_time()
        elif event.name == "do_one_initcall":
            ended = time.process_time()
            raise KernelError(ECANCELED)  # that was all that is measured

    stop = kernel.events.listen(heard)
    try:
        kernel.insmod(file)
    except KernelError as error:
        failure = f"{error.strerror}: {error.explanation}"
    stop()
    return Row(name, "s", ended - began, None, 2, at_most=True, failure="" if ended else failure)
