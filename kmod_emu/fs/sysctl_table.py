"""Sysctls of modules in /proc/sys (fs/proc/proc_sysctl.c): tables in guest memory with their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.tree import Node, directory
from kmod_emu.kernel import report
from kmod_emu.kernel.activation import to_long
from kmod_emu.kernel.exports import export
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task


_DIRECTORIES = ("abi", "debug", "dev", "fs", "user", "vm")  # that the kernel has; what is in them is not here
_NET = ("core", "ipv4", "ipv6", "netfilter", "unix")


class Sysctl(NamedTuple):
    """One file or, without an entry, an empty directory.

    Attributes:
        path: Below /proc/sys.
        entry: Address of its `struct ctl_table`.
    """

    path: str
    entry: int


class SysctlTables:
    """What is registered, by the address of its `struct ctl_table_header`."""

    def __init__(self, kernel: KernelCore, own: dict[str, Node]) -> None:
        self._kernel, self._own = kernel, own
        self._tables: dict[int, list[Sysctl]] = {}
        kernel.counted["sysctl tables"] = lambda: len(self._tables)

    # --- registering --------------------------------------------------------------------------------

    def register(self, path: str, table: int, size: int | None = None) -> int:
        """A table for a directory: its header, 0 (and a line in the log) if a name is taken."""
        kernel, prefix = self._kernel, path.strip("/")
        found = list(self._walk(prefix, table, size))
        for sysctl in found:
            if sysctl.entry and self._taken(sysctl.path):
                above, _, name = sysctl.path.rpartition("/")
                kernel.printk.emit(f"sysctl duplicate entry: /{above}/{name}\n", 3)
                report.dump_stack(kernel)
                return 0
        header = kernel.heap.kmalloc(kernel.profile.struct("ctl_table_header").size)
        if header:
            kernel.view("ctl_table_header", header).ctl_table_arg = table
            self._tables[header] = found
        return header

    def _walk(self, prefix: str, table: int, size: int | None) -> Iterator[Sysctl]:
        """A table's entries; before 6.5 an entry may be a directory, and a table ends with an empty one."""
        layout = self._kernel.profile.struct("ctl_table")
        yield Sysctl(prefix, 0)
        while size is None or size > 0:
            entry = self._kernel.view("ctl_table", table)
            if not entry.procname:
                return
            name = self._kernel.memory.read_text(entry.procname)
            path = f"{prefix}/{name}".lstrip("/")
            if entry.has("child") and entry.child:
                yield from self._walk(path, entry.child, None)
            else:
                yield Sysctl(path, table)
            table += layout.size
            size = None if size is None else size - 1

    def _taken(self, path: str) -> bool:
        first, _, rest = path.partition("/")
        if first == "kernel" and rest in self._own:
            return True
        return any(sysctl.entry and sysctl.path == path for sysctl in self._all())

    def _all(self) -> Iterator[Sysctl]:
        for found in self._tables.values():
            yield from found

    def unregister(self, header: int) -> None:
        """Its files go."""
        if self._tables.pop(header, None) is not None:
            self._kernel.heap.kfree(header)

    # --- files --------------------------------------------------------------------------------------

    def list(self) -> dict[str, Node]:
        """What is in /proc/sys."""
        tree: dict[str, Any] = {**{name: {} for name in _DIRECTORIES}, "kernel": dict(self._own)}
        tree["net"] = {name: {} for name in _NET}
        for sysctl in self._all():
            place = tree
            *above, name = sysctl.path.split("/")
            for part in above:
                place = place.setdefault(part, {})
            if sysctl.entry:
                place[name] = self._node(sysctl.entry)
            elif name:
                place.setdefault(name, {})
        return _nodes(tree)

    def _node(self, address: int) -> Node:
        entry = self._kernel.view("ctl_table", address)

        async def read(task: Task) -> bytes:
            return await self._call(entry, 0, bytes(PAGE_SIZE - 1))

        async def write(task: Task, data: bytes) -> None:
            await self._call(entry, 1, data)

        return Node(entry.mode & 0o777, read, write)

    async def _call(self, entry: StructView, write: int, data: bytes) -> bytes:
        """proc_sys_call_handler(): the table's function on a copy; what it left there."""
        kernel = self._kernel
        handler = entry.proc_handler
        if not handler:
            raise KernelError(errno.EINVAL, "the sysctl has no handler")
        buffer = kernel.heap.kmalloc(len(data) + 1 + 16)
        numbers = buffer + (len(data) + 8 & ~7)
        kernel.memory.write(buffer, data + b"\0")
        kernel.memory.write_u64(numbers, len(data))
        kernel.memory.write_u64(numbers + 8, 0)
        result = to_long(await kernel.call_guest(handler, entry.address, write, buffer, numbers, numbers + 8))
        left = kernel.memory.read(buffer, min(kernel.memory.read_u64(numbers), len(data)))
        kernel.heap.kfree(buffer)
        if result < 0:
            raise KernelError(-result, "the sysctl's handler refused")
        return left

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [[header, [list(each) for each in found]] for header, found in self._tables.items()]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tables = {header: [Sysctl(*each) for each in found] for header, found in state}


def _nodes(tree: dict[str, Any]) -> dict[str, Node]:
    return {
        name: child if isinstance(child, Node) else directory(_nodes(child), strict=True)
        for name, child in tree.items()
    }


# --- what modules call ----------------------------------------------------------------------------------


@export("struct ctl_table_header *register_sysctl(const char *path, struct ctl_table *table)")
def register_sysctl(kernel: KernelCore, path: str, table: int) -> int:
    """Files in a directory of /proc/sys."""
    return kernel[SysctlTables].register(path, table)


@export(
    "struct ctl_table_header *register_sysctl_sz(const char *path, const struct ctl_table *table,"
    " size_t table_size)"
)
def register_sysctl_sz(kernel: KernelCore, path: str, table: int, table_size: int) -> int:
    """Likewise, as many as are said."""
    return kernel[SysctlTables].register(path, table, table_size)


@export("struct ctl_table_header *register_sysctl_table(struct ctl_table *table)")
def register_sysctl_table(kernel: KernelCore, table: int) -> int:
    """A tree of tables below /proc/sys."""
    return kernel[SysctlTables].register("", table)


@export(
    "struct ctl_table_header *register_net_sysctl(struct net *net, const char *path, struct ctl_table *table)"
)
def register_net_sysctl(kernel: KernelCore, net: int, path: str, table: int) -> int:
    """Files of a network namespace (net/sysctl_net.c)."""
    return kernel[SysctlTables].register(path, table)


@export(
    "struct ctl_table_header *register_net_sysctl_sz(struct net *net, const char *path,"
    " struct ctl_table *table, size_t table_size)"
)
def register_net_sysctl_sz(kernel: KernelCore, net: int, path: str, table: int, table_size: int) -> int:
    """Likewise, as many as are said (net/sysctl_net.c)."""
    return kernel[SysctlTables].register(path, table, table_size)


@export("struct ctl_table_header *register_sysctl_mount_point(const char *path)")
def register_sysctl_mount_point(kernel: KernelCore, path: str) -> int:
    """An empty directory."""
    return kernel[SysctlTables].register(path, 0, 0)


@export("void unregister_sysctl_table(struct ctl_table_header *header)")
def unregister_sysctl_table(kernel: KernelCore, header: int) -> None:
    """They go."""
    kernel[SysctlTables].unregister(header)


@export("void unregister_net_sysctl_table(struct ctl_table_header *header)")
def unregister_net_sysctl_table(kernel: KernelCore, header: int) -> None:
    """They go (net/sysctl_net.c)."""
    kernel[SysctlTables].unregister(header)
