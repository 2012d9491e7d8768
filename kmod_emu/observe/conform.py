"""Two loaders on one kernel: what ours does with a module, beside what the kernel's own does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError, Killed
from kmod_emu.machine.memory import EXEC, PAGE_SIZE
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from kmod_emu.api import Snapshot
    from kmod_emu.machine.memory import Memory
    from kmod_emu.user.process import Process

_SYMBOL = 12  # struct kernel_symbol: three distances


class Seen(NamedTuple):
    """What can be seen of one load.

    Attributes:
        rc: Of init_module(2): 0 or a negative errno; None where an oops killed the caller.
        dmesg: What it said.
        row: Of /proc/modules, "" where it is not there.
        sections: Where they are, by /sys/module/NAME/sections.
        code: The bytes of the pages that are executable.
        exports: What later modules may import: name, address, CRC, namespace, and "GPL" or "".
        unload: What delete_module(2) said, None where there was nothing to remove.
    """

    rc: int | None
    dmesg: list[str]
    row: str
    sections: dict[str, str]
    code: bytes
    exports: list[str]
    unload: int | None


class Conformity:
    """A machine for each loader, with equal memory.

    Args:
        image: The vmlinuz.
    """

    def __init__(self, image: str | os.PathLike[str]) -> None:
        self._machines: list[tuple[VmlinuxKernel, Snapshot]] = []
        for loader in Loader:
            kernel = VmlinuxKernel(image, loader=loader)
            self._machines.append((kernel, kernel.snapshot()))

    def differences(self, path: str, needs: Sequence[str] = ()) -> list[str]:
        """What differs where both loaders load a module, a sentence each.

        Args:
            path: Its file.
            needs: Files that are loaded before it.
        """
        ours, theirs = (_load(kernel, moment, path, needs) for kernel, moment in self._machines)
        return list(_compare(ours, theirs))


def _load(kernel: VmlinuxKernel, moment: Snapshot, path: str, needs: Sequence[str]) -> Seen:
    kernel.restore(moment)
    with kernel.process(comm="insmod") as process:
        for each in needs:
            _init_module(process, Path(each).read_bytes())
        since = len(kernel.dmesg())
        before = set(_rows(process))
        rc = _init_module(process, Path(path).read_bytes())
    with kernel.process(comm="rmmod") as process:
        rows = _rows(process)
        name = next((name for name in rows if name not in before), "")
        sections = _sections(process, name) if name else {}
        code = _code(kernel, rows[name]) if name else b""
        exports = _exports(kernel, name) if name else []
        unload = _delete_module(process, name) if name and rc == 0 else None
    return Seen(rc, kernel.dmesg()[since:], rows.get(name, ""), sections, code, exports, unload)


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


def _sections(process: Process, name: str) -> dict[str, str]:
    folder = f"/sys/module/{name}/sections"
    try:
        return {s: process.read_file(f"{folder}/{s}").decode().strip() for s in process.listdir(folder)}
    except KernelError:
        return {}


def _code(kernel: VmlinuxKernel, row: str) -> bytes:
    """The pages of a module that are executable, by its row of /proc/modules."""
    words = row.split()
    start, size = int(words[5], 16), int(words[1])
    pages = (page for page in range(start, start + size, PAGE_SIZE) if kernel.memory.mapped(page, EXEC))
    return b"".join(kernel.memory.read(page, PAGE_SIZE) for page in pages)


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


def _compare(ours: Seen, theirs: Seen) -> Iterator[str]:
    for what in ("rc", "row", "unload"):
        here, there = getattr(ours, what), getattr(theirs, what)
        if here != there:
            yield f"{what}: ours {here!r}, the kernel's {there!r}"
    yield from _lists("dmesg", ours.dmesg, theirs.dmesg)
    yield from _lists("exports", ours.exports, theirs.exports)
    yield from _lists("sections", _items(ours.sections), _items(theirs.sections))
    at = next((at for at, (a, b) in enumerate(zip(ours.code, theirs.code, strict=False)) if a != b), None)
    if at is not None:
        here, there = (code[at : at + 8].hex() for code in (ours.code, theirs.code))
        yield f"code, byte {at:#x}: ours {here}, the kernel's {there}"


def _items(sections: dict[str, Any]) -> list[str]:
    return [f"{name} {address}" for name, address in sorted(sections.items())]


def _lists(what: str, ours: list[str], theirs: list[str]) -> Iterator[str]:
    """The first place where two lists differ."""
    if ours == theirs:
        return
    at = next((at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    at = min(len(ours), len(theirs)) if at is None else at
    here, there = (lines[at] if at < len(lines) else "no more" for lines in (ours, theirs))
    yield f"{what}: ours {here!r}, the kernel's {there!r}"
