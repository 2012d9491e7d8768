"""A machine that is used for long: `python -m benchmarks.soak [CYCLES [CALLS]]`.

Modules are loaded and removed, and system calls made, 100,000 and a million times unless told otherwise. Now
and then what Python and the machine have is counted: it must not grow, and the work must not get slower.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from click import echo

from kmod_emu import Kernel, samples
from kmod_emu.fs.uevent import Uevents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOKS = 20
_WARM = 3  # looks that are not compared: caches fill
_OWN = 3  # objects that a look is
_SLOWER = 1.5  # the last part against the first: a busy computer is not a leak


class Look(NamedTuple):
    """What there is at one moment.

    Attributes:
        done: Rounds so far.
        objects: Of Python's, that its garbage collector knows, without the log.
        held: What the machine has allocated and registered, by kind.
        seconds: Processor time since the last look.
        resident: Bytes of memory of the process.
    """

    done: int
    objects: int
    held: dict[str, int]
    seconds: float
    resident: int


def _resident() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def soak(kernel: Kernel, work: Callable[[], None], rounds: int, looks: int = _LOOKS) -> Iterator[Look]:
    """Do `work` again and again, and look `looks` times."""
    done = 0
    for number in range(1, looks + 1):
        began = time.process_time()
        while done < rounds * number // looks:
            work()
            done += 1
        seconds = time.process_time() - began
        gc.collect()
        kept = len(kernel.printk.records) + len(kernel[Uevents].sent)  # the newest of each
        yield Look(done, len(gc.get_objects()) - kept, kernel.held(), seconds, _resident())


def growth(looks: list[Look]) -> list[str]:
    """What became more from one look to the last; a sentence each."""
    first, last = looks[0], looks[-1]
    grown = [
        f"{kind}: {first.held[kind]} became {count}"
        for kind, count in last.held.items()
        if count > first.held[kind]
    ]
    if last.objects > first.objects + _OWN * len(looks):
        grown.append(f"Python's objects: {first.objects} became {last.objects}")
    return grown


def cycles(kernel: Kernel) -> Callable[[], None]:
    """One module after another is loaded and removed."""
    modules = [
        (samples.path(name).read_bytes(), name) for name in ("hello", "params", "echo", "kthread", "procfs")
    ]
    turn = 0

    def work() -> None:
        nonlocal turn
        image, name = modules[turn % len(modules)]
        turn += 1
        kernel.insmod(image)
        kernel.rmmod(name)

    return work


def calls(kernel: Kernel) -> Callable[[], None]:
    """Ten system calls: files that Python serves, and one that a module does."""
    kernel.insmod(samples.path("echo"))
    process = kernel.process(comm="soak")
    if not kernel.cat("/proc/devices").count(b" echo"):
        raise RuntimeError("the sample has no device")
    process.mknod("/tmp/echo", 0o020666, 246 << 8)
    buffer = process.put(bytes(64))
    zero = process.open("/dev/zero", 0)

    def work() -> None:
        fd = process.open("/tmp/echo", 2)
        process.syscall("write", fd, buffer, 5)
        process.syscall("read", fd, buffer, 5)
        process.syscall("lseek", fd, 0, 0)
        process.close(fd)
        for _ in range(3):
            process.syscall("read", zero, buffer, 64)
        process.syscall("getpid")
        process.syscall("read", 99, buffer, 1)  # EBADF

    return work


def main() -> int:
    """Both, with a line for each look; 1 if something grew or got slower."""
    wanted = [int(word) for word in sys.argv[1:]] + [100_000, 1_000_000][len(sys.argv) - 1 :]
    status = 0
    for title, make, rounds in (
        ("insmod and rmmod", cycles, wanted[0]),
        ("system calls", calls, wanted[1] // 10),
    ):
        kernel = Kernel()
        looks = []
        echo(f"{title}: {wanted[0] if make is cycles else wanted[1]}")
        echo(f"{'done':>8} {'objects':>9} {'resident':>9} {'us each':>9}  held")
        for look in soak(kernel, make(kernel), rounds):
            looks.append(look)
            each = look.seconds * _LOOKS / rounds * 1e6
            held = ", ".join(f"{count} {kind}" for kind, count in look.held.items() if count)
            echo(f"{look.done:8} {look.objects:9} {look.resident >> 10:7} K {each:9.1f}  {held}")
        compared = looks[_WARM:]
        wrong = growth(compared)
        half = len(compared) // 2
        early, late = (min(look.seconds for look in part) for part in (compared[:half], compared[half:]))
        if late > early * _SLOWER:
            wrong.append(f"it got slower: {early:.2f} s for a part became {late:.2f} s")
        for sentence in wrong:
            echo(f"  {sentence}")
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
