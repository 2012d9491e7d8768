"""What a machine shows that modules can add to: taken before and after init, the difference is what it added.

The kinds, and how each thing is written, are those of the recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.families.block import majors
from kmod_emu.drivers.registration import Registrations
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.procfs import Procfs
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi.stat import S_IFBLK, S_IFCHR, S_IFDIR, major, minor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.tree import Node
    from kmod_emu.kernel.tasks import Task

Shown = dict[str, set[str]]


def shown(kernel: Kernel) -> Shown | None:
    """Everything of these kinds that is there now; None for a base kernel that keeps them itself."""
    if not kernel.has(Registrations):
        return None
    proc, sys = kernel[Procfs].root, kernel[Sysfs].node
    return {
        "proc_devices": {*_majors(kernel)},
        "dev": {*_device_files(kernel[Vfs].dev.root, "/dev/")},
        "sys_class": {*_two_levels(sys, "class")},
        "sys_bus": {*_names(sys, "bus")},
        "bus_drivers": {*_of_buses(sys, "drivers")},
        "bus_devices": {*_of_buses(sys, "devices")},
        "filesystems": {*_file_systems(_text(kernel, "filesystems"))},
        "crypto": {*_algorithms(_text(kernel, "crypto"))},
        "sysctl": {*_paths(proc, "/proc", "sys/*", "sys/net/*")},
        "proc": {*_paths(proc, "/proc", "", "driver", "net")},
        "sysfs": {*_paths(sys, "/sys", "firmware", "fs", "kernel")},
        "debugfs": {*_names(sys, "kernel/debug")},
        "trace_events": {*_names(sys, "kernel/tracing/events")},
        "ioports": {line.strip() for line in _text(kernel, "ioports").splitlines()},
        "kthreads": {task.comm for task in _threads(kernel)},
    }


def difference(after: Shown | None, before: Shown | None) -> dict[str, list[str]] | None:
    """By kind, what is in the first only; None where nobody knows."""
    if after is None or before is None:
        return None
    found = {kind: sorted(things - before[kind]) for kind, things in after.items()}
    return {kind: things for kind, things in found.items() if things}


def _threads(kernel: Kernel) -> Iterator[Task]:
    for task in kernel.tasks.by_pid.values():
        if task.mm is None and not task.dead and not task.comm.startswith("kworker/"):
            yield task


def _majors(kernel: Kernel) -> Iterator[str]:
    yield from (f"char {region.major} {region.name}" for region in kernel[CharDevices])
    yield from (f"block {number} {name}" for number, name in majors(kernel).items())


def _device_files(directory: Dentry, path: str) -> Iterator[str]:
    for name, dentry in directory.inode.names.items():  # type: ignore[attr-defined]  # devtmpfs is stored
        inode = dentry.inode
        if inode.is_type(S_IFDIR):
            yield f"{path}{name}/"
            yield from _device_files(dentry, f"{path}{name}/")
        elif inode.is_type(S_IFCHR) or inode.is_type(S_IFBLK):
            kind = "c" if inode.is_type(S_IFCHR) else "b"
            yield f"{path}{name} {kind} {major(inode.rdev)}:{minor(inode.rdev)} {inode.mode & 0o7777:o}"


# --- computed files -------------------------------------------------------------------------------------


def _children(node: Node, path: str) -> dict[str, Node]:
    for name in filter(None, path.split("/")):
        below = node.children() if node.children else {}
        if name not in below:
            return {}
        node = below[name]
    return node.children() if node.children else {}


def _names(top: Node, path: str) -> Iterator[str]:
    yield from _children(top, path)


def _text(kernel: Kernel, name: str) -> str:
    read = kernel[Procfs].root.children()[name].read  # type: ignore[misc]  # a directory
    return str(read(kernel.tasks.init_task)) if read is not None else ""


def _two_levels(top: Node, path: str) -> Iterator[str]:
    for name, node in _children(top, path).items():
        yield name
        yield from (f"{name}/{below}" for below in _children(node, ""))


def _of_buses(top: Node, what: str) -> Iterator[str]:
    for bus, node in _children(top, "bus").items():
        yield from (f"{bus}/{name}" for name in _children(node, what))


def _paths(top: Node, root: str, *directories: str) -> Iterator[str]:
    """The paths of what is in these directories; `a/*` is all that are in a."""
    for path in directories:
        above, star, _ = path.partition("/*")
        places = [f"{above}/{name}" for name in _children(top, above)] if star else [above]
        for place in filter(None, places) if star else places:
            prefix = f"{root}/{place}".rstrip("/")
            yield from (f"{prefix}/{name}" for name in _children(top, place) if not name.isdecimal())


def _file_systems(text: str) -> Iterator[str]:
    for line in text.splitlines():
        nodev, _, name = line.partition("\t")
        yield f"{name} (nodev)" if nodev else name


def _algorithms(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        facts = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        lines = {name.strip(): value for name, value in facts.items()}
        if lines:
            yield f"{lines['name']} driver={lines['driver']}"
