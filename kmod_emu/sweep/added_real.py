"""What a distribution's kernel shows that modules can add to: the kinds of `added`, from its own files.

Text files are read by a process; directories are, where the kernel keeps them (vmlinux/trees.py), which gives
the same and takes milliseconds, not hundreds of system calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.sweep.added import algorithms, file_systems, read_parameter, threads
from kmod_emu.uapi.stat import S_IFBLK, S_IFCHR, S_IFMT
from kmod_emu.vmlinux.trees import Kernfs, dentries, device_files, proc_entries, root_of, sysctls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.kernel.tasks import Task
    from kmod_emu.sweep.added import Shown
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_TEXTS = ("devices", "filesystems", "crypto", "ioports", "modules")  # in /proc
_COMM = 15  # characters of the longest
_READABLE = 0o444
_AT_ONCE = 1 << 15  # bytes of a file
_MINOR_BITS = 20  # in a dev_t of the kernel's
_NET = "net"


class Shows:
    """Looks at one machine.

    Args:
        kernel: The machine, booted: what changes are looked for from here.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel, self._sys = kernel, Kernfs(kernel)
        self._dev, self._debug = root_of(kernel, "devtmpfs"), root_of(kernel, "debugfs")
        tracefs = root_of(kernel, "tracefs")
        self._events = dict(dentries(kernel, tracefs)).get("events", 0) if tracefs else 0
        self._reader = kernel.process(comm="cat")  # stays, with what it reads open
        self._files = [self._reader.open(f"/proc/{name}") for name in _TEXTS]
        self._scratch = self._reader.scratch
        self()
        self._scratch = self._reader.scratch  # memory that it has in all moments from here on
        self._sys.settle()

    def __call__(self) -> Shown:
        """Everything that is there now."""
        kernel = self._kernel
        self._reader.scratch = self._scratch
        devices, filesystems, crypto, ports = map(self._text, self._files[:-1])
        return {
            "proc_devices": {*_majors(devices)},
            "dev": {*self._device_files()},
            "sys_class": {*self._classes()},
            "sys_bus": {*self._sys.find("bus")},
            "bus_drivers": {*self._of_buses("drivers")},
            "bus_devices": {*self._of_buses("devices")},
            "filesystems": {*file_systems(filesystems)},
            "crypto": {*algorithms(crypto)},
            "sysctl": {*self._sysctls()},
            "proc": {*self._proc()},
            "sysfs": {
                f"/sys/{place}/{name}"
                for place in ("firmware", "fs", "kernel")
                for name in self._sys.find(place)
            },
            "debugfs": {name for name, _ in dentries(kernel, self._debug)},
            "trace_events": {name for name, _ in dentries(kernel, self._events)} if self._events else set(),
            "ioports": {line.strip() for line in ports.splitlines()},
            "kthreads": {self._name(task) for task in threads(kernel)},
        }

    def _text(self, descriptor: int) -> str:
        """All of an open file."""
        parts: list[bytes] = []
        while part := self._reader.pread(descriptor, _AT_ONCE, sum(map(len, parts))):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "backslashreplace")

    def _name(self, task: Task) -> str:
        """A thread's whole name, of which `comm` may have the beginning only."""
        comm = task.comm
        if len(comm) < _COMM:
            return comm
        return self._reader.read_file(f"/proc/{task.pid}/comm").decode("utf-8", "backslashreplace").rstrip()

    def modules(self) -> str:
        """What /proc/modules has."""
        self._reader.scratch = self._scratch
        return self._text(self._files[-1])

    def parameters(self, module: str) -> dict[str, bytes]:
        """What a module's parameters are, of those that can be read."""
        self._reader.scratch = self._scratch
        path = f"module/{module}/parameters"
        names = [name for name, node in self._sys.find(path).items() if self._sys.mode(node) & _READABLE]
        return {name: read_parameter(self._reader, module, name) for name in names}

    def _device_files(self) -> Iterator[str]:
        for path, inode in device_files(self._kernel, self._dev, "/dev/"):
            kind = {S_IFCHR: "c", S_IFBLK: "b"}.get(inode.i_mode & S_IFMT)
            if kind is not None:
                major, minor = divmod(inode.i_rdev, 1 << _MINOR_BITS)
                yield f"{path} {kind} {major}:{minor} {inode.i_mode & 0o7777:o}"
            elif path.endswith("/"):
                yield path

    def _classes(self) -> Iterator[str]:
        for name, node in self._sys.find("class").items():
            yield name
            yield from (f"{name}/{device}" for device in self._sys.entries(node))

    def _of_buses(self, what: str) -> Iterator[str]:
        for bus, node in self._sys.find("bus").items():
            below = self._sys.entries(node).get(what)
            yield from (f"{bus}/{name}" for name in (self._sys.entries(below) if below else ()))

    def _sysctls(self) -> Iterator[str]:
        kernel = self._kernel
        of_net = kernel.symbol("init_net") + kernel.profile.offset("net", "sysctls")
        for table_set in (kernel.symbol("sysctl_table_root"), of_net):
            for path in sysctls(kernel, table_set):
                words = path.split("/")[1:]
                if len(words) == 2 or (len(words) == 3 and words[0] == _NET):
                    yield f"/proc/sys{path}"

    def _proc(self) -> Iterator[str]:
        kernel = self._kernel
        root = kernel.symbol("proc_root")
        of_net = kernel.memory.read_u64(kernel.symbol("init_net") + kernel.profile.offset("net", "proc_net"))
        top = proc_entries(kernel, root)
        for path, directory in (("", root), ("/driver", top["driver"]), ("/net", of_net)):
            yield from (f"/proc{path}/{name}" for name in proc_entries(kernel, directory))


def _majors(text: str) -> Iterator[str]:
    kind = ""
    for line in text.splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdecimal():
            yield f"{kind} {number} {name}"
        elif number:
            kind = {"Character": "char", "Block": "block"}[number]
