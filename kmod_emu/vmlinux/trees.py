"""Names in the file systems of a kernel, read where it keeps them: kernfs, dcache, procfs, sysctl.

The same that `ls` would show, for who looks at thousands of directories between two system calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.uapi.stat import S_IFDIR, S_IFMT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.vmlinux.kernel import VmlinuxKernel
    from kmod_emu.vmlinux.recall import Reader

_RB_NODE, _RB_RIGHT = 24, 8  # bytes of struct rb_node: parent, right, left
_CTL_NODE = 32  # bytes of struct ctl_node: an rb_node, then its header


class Kernfs:
    """Directories of /sys: their entries, by name, with the addresses of their nodes.

    A directory of before that has not changed since, by the kernel's own count (`rev`), is not read again.
    """

    def __init__(self, reader: Reader) -> None:
        self._kernel, self._reader = reader.kernel, reader
        kernel = reader.kernel
        node, directory = kernel.profile.struct("kernfs_node"), kernel.profile.struct("kernfs_elem_dir")
        self._name, self._rb, self._dir = (node.offset(name) for name in ("name", "rb", "dir"))
        self._mode = node.offset("mode")
        self._children, self._rev = directory.offset("children"), directory.members.get("rev")
        self._known: dict[tuple[int, int, int], dict[str, int]] = {}
        self._remembering = True
        self.root = self._sd("kernel_kobj", parent=True)

    def _sd(self, symbol: str, *, parent: bool) -> int:
        """The node of an object's directory, or of the one above."""
        kernel, memory = self._kernel, self._kernel.memory
        kobject = memory.read_u64(kernel.symbol(symbol))
        node = memory.read_u64(kobject + kernel.profile.offset("kobject", "sd"))
        members = kernel.profile.struct("kernfs_node").members
        above = members["parent" if "parent" in members else "__parent"].offset
        return memory.read_u64(node + above) if parent else node

    def settle(self) -> None:
        """What is known now is what changes are told from."""
        self._remembering = False

    def entries(self, directory: int) -> dict[str, int]:
        """What is in a directory."""
        word, offset = self._reader.read_u64, self._dir
        if self._rev is None:
            return self._read(directory)
        key = directory, word(directory + self._name), word(directory + offset + self._rev.offset)
        known = self._known.get(key)
        if known is None:
            known = self._read(directory)
            if self._remembering:
                self._known[key] = known
        return known

    def _read(self, directory: int) -> dict[str, int]:
        reader, name = self._reader, self._name
        first = reader.read_u64(directory + self._dir + self._children)
        nodes = (rb - self._rb for rb in _rb_walk(reader, first))
        return {reader.text(reader.read_u64(node + name)): node for node in nodes}

    def find(self, path: str) -> dict[str, int]:
        """What is in the directory of a path below /sys; nothing where there is none."""
        node: int | None = self.root
        for name in filter(None, path.split("/")):
            node = self.entries(node).get(name) if node else None
        return self.entries(node) if node else {}

    def mode(self, node: int) -> int:
        """A node's mode, as stat(2) tells."""
        return self._reader.number(node + self._mode, 2)


def _rb_walk(reader: Reader, node: int) -> Iterator[int]:
    """All nodes of a red-black tree, by the address of their rb_node."""
    waiting = [node]
    while waiting:
        if node := waiting.pop():
            yield node
            waiting += reader.pair(node + _RB_RIGHT)


def root_of(kernel: VmlinuxKernel, kind: str) -> int:
    """The root dentry of the first mounted file system of a kind, 0 where none is."""
    layout = kernel.profile.struct("super_block")
    for entry in lists.walk(kernel.memory, kernel.symbol("super_blocks")):
        view = kernel.view("super_block", entry - layout.offset("s_list"))
        if view.s_root and kernel.memory.read_text(kernel.memory.read_u64(view.s_type)) == kind:
            return view.s_root
    return 0


def dentries(reader: Reader, directory: int) -> Iterator[tuple[str, int]]:
    """Names in a directory of a file system that is all in the dcache, with their dentries."""
    layout = reader.kernel.profile.struct("dentry")
    if "d_subdirs" in layout.members:
        link = layout.offset("d_child")
        found: Iterator[int] = lists.walk(reader, directory + layout.offset("d_subdirs"))
    else:
        link = layout.offset("d_sib")
        found = lists.hlist_walk(reader, directory + layout.offset("d_children"))
    inode, hashed = layout.offset("d_inode"), layout.offset("d_hash") + 8
    name = layout.offset("d_name") + 8
    for entry in found:
        dentry = entry - link
        if reader.read_u64(dentry + inode) and reader.is_set(dentry + hashed):
            yield reader.text(reader.read_u64(dentry + name)), dentry


class DeviceFile(NamedTuple):
    """What is in devtmpfs; the path of a directory has a slash behind."""

    path: str
    mode: int
    rdev: int


def device_files(reader: Reader, directory: int, path: str) -> Iterator[DeviceFile]:
    """All that is below a directory of devtmpfs."""
    profile = reader.kernel.profile
    mode, rdev = (profile.struct("inode").members[name] for name in ("i_mode", "i_rdev"))
    for name, dentry in dentries(reader, directory):
        inode = reader.read_u64(dentry + profile.offset("dentry", "d_inode"))
        place = f"{path}{name}"
        found = DeviceFile(
            place,
            reader.number(inode + mode.offset, mode.size),
            reader.number(inode + rdev.offset, rdev.size),
        )
        if found.mode & S_IFMT == S_IFDIR:
            yield found._replace(path=f"{place}/")
            yield from device_files(reader, dentry, f"{place}/")
        else:
            yield found


def proc_entries(reader: Reader, directory: int) -> dict[str, int]:
    """Names in a directory of /proc that the kernel made, with their struct proc_dir_entry."""
    layout = reader.kernel.profile.struct("proc_dir_entry")
    first, link, name = (layout.offset(member) for member in ("subdir", "subdir_node", "name"))
    rows = (rb - link for rb in _rb_walk(reader, reader.read_u64(directory + first)))
    return {reader.text(reader.read_u64(row + name)): row for row in rows}


def sysctls(reader: Reader, table_set: int) -> Iterator[str]:
    """Paths below /proc/sys that a struct ctl_table_set has: three levels of directories."""
    first = table_set + reader.kernel.profile.offset("ctl_table_set", "dir")
    yield from _Sysctls(reader).below(first, "", 3)


class _Sysctls:
    def __init__(self, reader: Reader) -> None:
        self._reader, profile = reader, reader.kernel.profile
        self._root = profile.offset("ctl_dir", "root")
        self._places = [profile.offset("ctl_table_header", name) for name in ("ctl_table", "node")]
        entry = profile.struct("ctl_table")
        self._size, self._name, self._mode = entry.size, entry.offset("procname"), entry.offset("mode")
        self._headers: dict[int, tuple[int, ...]] = {}  # where entries and their nodes are

    def below(self, directory: int, path: str, levels: int) -> Iterator[str]:
        reader = self._reader
        for node in _rb_walk(reader, reader.read_u64(directory + self._root)):
            header = reader.read_u64(node + _RB_NODE)
            if header not in self._headers:
                self._headers[header] = tuple(reader.read_u64(header + place) for place in self._places)
            table, nodes = self._headers[header]
            entry = table + (node - nodes) // _CTL_NODE * self._size
            name = f"{path}/{reader.text(reader.read_u64(entry + self._name))}"
            yield name
            if levels > 1 and reader.number(entry + self._mode, 2) & S_IFMT == S_IFDIR:
                yield from self.below(header, name, levels - 1)
