"""What a machine shows that modules can add to: taken before and after init, the difference is what it added.

The kinds, and how each thing is written, are those of the recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.drivers.families.block import majors
from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.procfs import Procfs
from kmod_emu.fs.sysfs import Sysfs
from kmod_emu.fs.vfs import Vfs
from kmod_emu.module.modules import Modules
from kmod_emu.uapi.stat import S_IFBLK, S_IFCHR, S_IFDIR, major, minor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.tree import Node
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.process import Process

Shown = dict[str, set[str]]
_READABLE = 0o444


class StubShows:
    """Looks at a machine with the stub base kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self.processes = kernel, kernel.process

    def modules(self) -> str:
        """What /proc/modules has."""
        return self._kernel.cat("/proc/modules").decode("utf-8", "backslashreplace")

    def parameters(self, module: str) -> dict[str, bytes]:
        """What a module's parameters are, of those that can be read."""
        found = self._kernel[Modules].find(module)
        parameters = found.parameters if found is not None else ()
        names = [each.name for each in parameters if each.permissions & _READABLE]
        with self._kernel.process(comm="cat") as process:
            return {name: read_parameter(process, module, name) for name in names}

    def __call__(self) -> Shown:
        """Everything that is there now."""
        kernel = self._kernel
        proc, sys = kernel[Procfs].root, kernel[Sysfs].node
        return {
            "proc_devices": {*_majors(kernel)},
            "dev": {*_device_files(kernel[Vfs].dev.root, "/dev/")},
            "sys_class": {*_two_levels(sys, "class")},
            "sys_bus": {*_names(sys, "bus")},
            "bus_drivers": {*_of_buses(sys, "drivers")},
            "bus_devices": {*_of_buses(sys, "devices")},
            "filesystems": {*file_systems(_text(kernel, "filesystems"))},
            "crypto": {*algorithms(_text(kernel, "crypto"))},
            "sysctl": {*_paths(proc, "/proc", "sys/*", "sys/net/*")},
            "proc": {*_paths(proc, "/proc", "", "driver", "net")},
            "sysfs": {*_paths(sys, "/sys", "firmware", "fs", "kernel")},
            "debugfs": {*_names(sys, "kernel/debug")},
            "trace_events": {*_names(sys, "kernel/tracing/events")},
            "ioports": {line.strip() for line in _text(kernel, "ioports").splitlines()},
            "kthreads": {task.comm for task in threads(kernel)},
        }


def read_parameter(process: Process, module: str, name: str) -> bytes:
    """What cat prints of a parameter: nothing, if it has no `get`, which refuses."""
    try:
        return process.read_file(f"/sys/module/{module}/parameters/{name}")
    except KernelError:
        return b""


def difference(after: Shown, before: Shown, module: str) -> dict[str, list[str]]:
    """By kind, what is in the first only, the directory of the module itself left out."""
    found = {kind: sorted(things - before[kind]) for kind, things in after.items()}
    found["sys_module"] = [name for name in found.get("sys_module", ()) if name != module]
    return {kind: things for kind, things in found.items() if things}


def threads(kernel: Kernel) -> Iterator[Task]:
    """The kernel threads but those that serve workqueues."""
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


def file_systems(text: str) -> Iterator[str]:
    """What /proc/filesystems lists."""
    for line in text.splitlines():
        nodev, _, name = line.partition("\t")
        yield f"{name} (nodev)" if nodev else name


def algorithms(text: str) -> Iterator[str]:
    """What /proc/crypto lists: name and driver of each."""
    for paragraph in text.split("\n\n"):
        facts = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        lines = {name.strip(): value for name, value in facts.items()}
        if lines:
            yield f"{lines['name']} driver={lines['driver']}"
