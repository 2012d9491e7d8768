"""What can be seen of one load of a module, by whichever loader, and where two differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.compression import decompress
from kmod_emu.module.modules import Modules
from kmod_emu.sweep.compare import comparable
from kmod_emu.sweep.conform.memory import Look, different
from kmod_emu.sweep.one import logged
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator, Sequence

    from kmod_emu.api import Snapshot
    from kmod_emu.machine.memory import Memory
    from kmod_emu.user.process import Process

_A_WHILE = 0.1  # seconds of virtual time in which the kernel's own loader gives the memory of an init back
_MAX_SIZE = (1 << 31) - 1
_SYMBOL = 12  # struct kernel_symbol: three distances


class Seen(NamedTuple):
    """What can be seen of one load.

    Attributes:
        rc: Of init_module(2): 0 or a negative errno; None where an oops killed the caller.
        dmesg: What it said; registers, call traces and hashed addresses in it are not compared.
        rows: Of /proc/modules, with what the module needs.
        tainted: What the kernel is, by /proc/sys/kernel/tainted.
        sections: Where they are, by /sys/module/NAME/sections.
        look: Its memory before its init ran; where there is no init, once it was loaded.
        exports: What later modules may import: name, address, CRC, namespace, and "GPL" or "".
        unload: What delete_module(2) said, None where there was nothing to remove.
        left: Of /proc/modules, afterwards.
    """

    rc: int | None
    dmesg: list[str]
    rows: list[str]
    tainted: str
    sections: list[str]
    look: Look
    exports: list[str]
    unload: int | None
    left: list[str]


class Machine:
    """A machine on which one module after another is loaded, each with what it needs.

    Args:
        image: The vmlinuz.
        loader: Whose code loads.
        skip: As `VmlinuxKernel` takes it.
    """

    def __init__(self, image: str | os.PathLike[str], loader: Loader, skip: Collection[str] = ()) -> None:
        self.kernel = VmlinuxKernel(image, loader=loader, skip=skip)
        self._booted = self.kernel.snapshot()
        self._needs: list[tuple[str, Snapshot]] = []  # what the last one needed, and the moment after each

    def load(self, path: str, needs: Sequence[str] = ()) -> Seen:
        """Load a module and remove it again.

        Raises:
            OSError: A file cannot be read.
        """
        kernel, image = self.kernel, _image(path)
        self._prepare(needs)
        look = Look(kernel)
        since = kernel.printk.sequence
        with kernel.process(comm="insmod") as process:
            before = {*_rows(process)}
            stop = kernel.events.listen(look)
            rc = _init_module(process, image)
            stop()
        with kernel.process(comm="rmmod") as process:
            rows, tainted = _rows(process), process.read_file("/proc/sys/kernel/tainted").decode().strip()
            name = next((name for name in rows if name not in before), "")
            if name and not look.pieces:
                look.at(kernel[Modules].find(name))
            sections, exports = (_sections(process, name), _exports(kernel, name)) if name else ([], [])
            unload = _delete_module(process, name) if name and rc == 0 else None
            left = [] if unload is None else [*_rows(process).values()]
        dmesg = logged(kernel, since)
        return Seen(rc, dmesg, [*rows.values()], tainted, sections, look, exports, unload, left)

    def _prepare(self, needs: Sequence[str]) -> None:
        """Go back to the moment when the same was there, as far as it was, and load the rest."""
        common = 0
        while common < min(len(needs), len(self._needs)) and self._needs[common][0] == needs[common]:
            common += 1
        del self._needs[common:]
        self.kernel.restore(self._needs[-1][1] if self._needs else self._booted)
        for file in needs[common:]:
            with self.kernel.process(comm="insmod") as process:
                _init_module(process, _image(file))
            self.kernel.advance(_A_WHILE)
            self._needs.append((file, self.kernel.snapshot()))


class Conformity:
    """A machine for each loader, with equal memory.

    Args:
        image: The vmlinuz.
        skip: As `VmlinuxKernel` takes it.
    """

    def __init__(self, image: str | os.PathLike[str], skip: Collection[str] = ()) -> None:
        self.machines = [Machine(image, loader, skip) for loader in Loader]

    def load(self, path: str, needs: Sequence[str] = ()) -> tuple[Seen, list[str]]:
        """What our loader does with a module, and what differs where the kernel's does it, a sentence each.

        Args:
            path: Its file.
            needs: Files that are loaded before it.

        Raises:
            OSError: A file cannot be read.
        """
        ours, theirs = (machine.load(path, needs) for machine in self.machines)
        return ours, list(compare(ours, theirs))


def _image(path: str) -> bytes:
    """A module file's bytes, decompressed."""
    return decompress(path, Path(path).read_bytes(), _MAX_SIZE)


def _init_module(process: Process, blob: bytes) -> int | None:
    try:
        return process.syscall("init_module", process.put(blob), len(blob), process.put(b"\0"))
    except Killed:
        return None


def _delete_module(process: Process, name: str) -> int | None:
    try:
        return process.syscall("delete_module", process.put(name.encode() + b"\0"), O_NONBLOCK)
    except Killed:
        return None


def _rows(process: Process) -> dict[str, str]:
    """/proc/modules, by name."""
    return {row.split()[0]: row for row in process.read_file("/proc/modules").decode().splitlines()}


def _sections(process: Process, name: str) -> list[str]:
    folder = f"/sys/module/{name}/sections"
    try:
        names = sorted(process.listdir(folder))
    except KernelError:
        return []
    return [f"{each} {process.read_file(f'{folder}/{each}').decode().strip()}" for each in names]


def _exports(kernel: VmlinuxKernel, name: str) -> list[str]:
    """The tables that `struct module` leads to, as the next module's imports are looked up in them."""
    memory, offset = kernel.memory, kernel.profile.offset("module", "list")
    views = (kernel.view("module", at - offset) for at in lists.walk(memory, kernel.symbol("modules")))
    view = next((view for view in views if view.text("name") == name), None)
    found: list[str] = []
    for prefix, licence in (("", ""), ("gpl_", "GPL")):
        if view is None or not view.has(f"{prefix}syms"):
            continue
        table, crcs = view.get(f"{prefix}syms"), view.get(f"{prefix}crcs")
        for index in range(view.get(f"num_{prefix}syms")):
            entry = table + _SYMBOL * index
            value, text, space = (_relative(memory, entry + 4 * field) for field in range(3))
            crc = memory.read_u32(crcs + 4 * index) if crcs else 0
            namespace = memory.read_text(space) if space != entry + 8 else ""
            found.append(f"{memory.read_text(text)} {value:#x} {crc:#010x} {namespace} {licence}")
    return found


def _relative(memory: Memory, place: int) -> int:
    """The address that a 32-bit distance from itself stands for."""
    return place + int.from_bytes(memory.read(place, 4), "little", signed=True)


def compare(ours: Seen, theirs: Seen) -> Iterator[str]:
    """What differs, a sentence each."""
    for what in ("rc", "tainted", "unload"):
        here, there = getattr(ours, what), getattr(theirs, what)
        if here != there:
            yield f"{what}: ours {here!r}, the kernel's {there!r}"
    yield from _lists("dmesg", comparable(ours.dmesg), comparable(theirs.dmesg))
    for what in ("rows", "sections", "exports", "left"):
        yield from _lists(what, getattr(ours, what), getattr(theirs, what))
    yield from different(ours.look, theirs.look)


def _lists(what: str, ours: list[str], theirs: list[str]) -> Iterator[str]:
    """The first place where two lists differ."""
    if ours == theirs:
        return
    at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    at = min(len(ours), len(theirs)) if at is None else at
    here, there = (lines[at] if at < len(lines) else "no more" for lines in (ours, theirs))
    yield f"{what}: ours {here!r}, the kernel's {there!r}"
