"""What a machine with a distribution's kernel shows that modules can add to.

It is read where the kernel keeps it (vmlinux/trees.py, registered.py), which gives what thousands of system
calls would, and only where something was written since the last look (recall.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.sweep.added import read_parameter
from kmod_emu.sweep.standing import Standing
from kmod_emu.uapi.stat import S_IFBLK, S_IFCHR, S_IFMT
from kmod_emu.vmlinux.recall import Reader, Recall
from kmod_emu.vmlinux.registered import Registered
from kmod_emu.vmlinux.trees import Kernfs, dentries, device_files, proc_entries, root_of, sysctls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.sweep.added import Shown
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_PF_WQ_WORKER = 0x20
_WORKER = "kworker/"  # threads that serve workqueues come and go
_READABLE = 0o444
_AT_ONCE = 1 << 15  # bytes of a file
_MINOR_BITS = 20  # in a dev_t of the kernel's
_NET = "net"
_ROOMS = {"insmod": 4 << 20, "rmmod": 4096, "cat": 1 << 17}  # bytes; larger modules get more


class Shows:
    """Looks at one machine.

    Args:
        kernel: The machine, booted: what changes are looked for from here.

    Attributes:
        processes: Who loads and removes modules.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel, self._look = kernel, Reader(kernel)
        self._recall, self._registered = Recall(self._look), Registered(self._look)
        self._sys = Kernfs(self._look)
        self._dev, self._debug = root_of(kernel, "devtmpfs"), root_of(kernel, "debugfs")
        tracefs = root_of(kernel, "tracefs")
        self._events = dict(dentries(self._look, tracefs)).get("events", 0) if tracefs else 0
        self.processes = Standing(kernel, _ROOMS)
        with self.processes(comm="cat") as reader:
            self._modules = reader.open("/proc/modules")  # stays open
        self()
        self._sys.settle()

    def __call__(self) -> Shown:
        """Everything that is there now."""
        self._recall.begin()
        kinds: dict[str, Callable[[], Iterator[str]]] = {
            "proc_devices": self._registered.majors,
            "dev": self._device_files,
            "sys_class": self._classes,
            "sys_bus": lambda: iter(self._sys.find("bus")),
            "sys_module": lambda: iter(self._sys.find("module")),
            "bus_drivers": lambda: self._of_buses("drivers"),
            "bus_devices": lambda: self._of_buses("devices"),
            "filesystems": self._registered.filesystems,
            "crypto": self._registered.algorithms,
            "sysctl": self._sysctls,
            "proc": self._proc,
            "sysfs": self._sysfs,
            "debugfs": lambda: self._names(self._debug),
            "trace_events": lambda: self._names(self._events),
            "ioports": self._registered.ports,
        }
        shown = {kind: self._ask(kind, find) for kind, find in kinds.items()}
        return shown | {"kthreads": {*self._threads()}}

    def _ask(self, kind: str, find: Callable[[], Iterator[str]]) -> set[str]:
        return self._recall(kind, lambda: set(find()))

    def _names(self, directory: int) -> Iterator[str]:
        if directory:
            yield from (name for name, _ in dentries(self._look, directory))

    def _sysfs(self) -> Iterator[str]:
        for place in ("firmware", "fs", "kernel"):
            yield from (f"/sys/{place}/{name}" for name in self._sys.find(place))

    def _threads(self) -> Iterator[str]:
        """The kernel threads but those that serve any workqueue, named as in /proc (fs/proc/array.c).

        These are whole names, but of those that serve one workqueue when no other thread can.
        """
        look, profile, offset = self._look, self._kernel.profile, self._kernel.profile.offset
        mm, comm, flags = (offset("task_struct", name) for name in ("mm", "comm", "flags"))
        own = "full_name" in profile.struct("kthread").members
        private = offset("task_struct", "worker_private") if own else 0
        for task in self._kernel.tasks.by_pid.values():
            if task.dead or look.read_u64(task.address + mm):
                continue
            name = look.text(task.address + comm)
            worker = look.read_u64(task.address + flags) & _PF_WQ_WORKER
            if own and not worker and task.address != self._kernel.tasks.init_task.address:
                thread = look.read_u64(task.address + private)
                if thread and (whole := look.read_u64(thread + offset("kthread", "full_name"))):
                    name = look.text(whole)
            if not name.startswith(_WORKER):
                yield name

    def modules(self) -> str:
        """What /proc/modules has."""
        text = b""
        with self.processes(comm="cat") as reader:
            while part := reader.pread(self._modules, _AT_ONCE, len(text)):
                text += part
        return text.decode("utf-8", "backslashreplace")

    def parameters(self, module: str) -> dict[str, bytes]:
        """What a module's parameters are, of those that can be read."""
        path = f"module/{module}/parameters"
        names = [name for name, node in self._sys.find(path).items() if self._sys.mode(node) & _READABLE]
        with self.processes(comm="cat") as reader:
            return {name: read_parameter(reader, module, name) for name in names}

    def _device_files(self) -> Iterator[str]:
        for file in device_files(self._look, self._dev, "/dev/"):
            kind = {S_IFCHR: "c", S_IFBLK: "b"}.get(file.mode & S_IFMT)
            if kind is not None:
                major, minor = divmod(file.rdev, 1 << _MINOR_BITS)
                yield f"{file.path} {kind} {major}:{minor} {file.mode & 0o7777:o}"
            elif file.path.endswith("/"):
                yield file.path

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
            for path in sysctls(self._look, table_set):
                words = path.split("/")[1:]
                if len(words) == 2 or (len(words) == 3 and words[0] == _NET):
                    yield f"/proc/sys{path}"

    def _proc(self) -> Iterator[str]:
        kernel = self._kernel
        root = kernel.symbol("proc_root")
        of_net = self._look.read_u64(kernel.symbol("init_net") + kernel.profile.offset("net", "proc_net"))
        top = proc_entries(self._look, root)
        for path, directory in (("", root), ("/driver", top["driver"]), ("/net", of_net)):
            yield from (f"/proc{path}/{name}" for name in proc_entries(self._look, directory))
