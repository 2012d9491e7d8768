"""Names in the file systems of a kernel, read where it keeps them: kernfs, dcache, procfs, sysctl.

The same that `ls` would show, for who looks at thousands of directories between two system calls.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.layout import MODULES_VADDR, PAGE_OFFSET, START_KERNEL_MAP
from kmod_emu.uapi.stat import S_IFDIR, S_IFMT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_RB_NODE = 24  # bytes of struct rb_node: parent, right, left
_CTL_NODE = 32  # bytes of struct ctl_node: an rb_node, then its header
_WORDS, _WORD = struct.Struct("<QQQ"), struct.Struct("<Q")
_LONGEST = 4096  # what is read at once, so near to the end of memory


class Reader:
    """Reads of kernel memory, many of them small, where a snapshot may be between two looks but no write."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._memory = kernel.memory
        arena = kernel.memory.arena_of(PAGE_OFFSET)
        self._raw, self._base, self._end = arena.raw, arena.base, arena.end - _LONGEST
        self._texts: dict[int, str] = {}  # of the kernel's own constants

    def words(self, address: int) -> tuple[int, int, int]:
        """Three numbers."""
        if self._base <= address < self._end:
            return _WORDS.unpack_from(self._raw, address - self._base)
        return _WORDS.unpack(self._memory.read(address, _WORDS.size))

    def word(self, address: int) -> int:
        """A number."""
        if self._base <= address < self._end:
            return int(_WORD.unpack_from(self._raw, address - self._base)[0])
        return self._memory.read_u64(address)

    def text(self, address: int) -> str:
        """A text."""
        if self._base <= address < self._end:
            start = address - self._base
            return self._raw[start : self._raw.find(b"\0", start)].decode("utf-8", "backslashreplace")
        if not START_KERNEL_MAP <= address < MODULES_VADDR:
            return self._memory.read_text(address)
        text = self._texts.get(address)
        if text is None:
            text = self._texts[address] = self._memory.read_text(address)
        return text


class Kernfs:
    """Directories of /sys: their entries, by name, with the addresses of their nodes.

    A directory of before that has not changed since, by the kernel's own count (`rev`), is not read again.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel, self._memory, self._reader = kernel, kernel.memory, Reader(kernel)
        node, directory = kernel.profile.struct("kernfs_node"), kernel.profile.struct("kernfs_elem_dir")
        self._name, self._rb, self._dir = (node.offset(name) for name in ("name", "rb", "dir"))
        self._mode = node.offset("mode")
        self._children, self._rev = directory.offset("children"), directory.members.get("rev")
        self._known: dict[tuple[int, int, int], dict[str, int]] = {}
        self._remembering = True
        self.root = self._sd("kernel_kobj", parent=True)

    def _sd(self, symbol: str, *, parent: bool) -> int:
        """The node of an object's directory, or of the one above."""
        kernel = self._kernel
        kobject = self._memory.read_u64(kernel.symbol(symbol))
        node = self._memory.read_u64(kobject + kernel.profile.offset("kobject", "sd"))
        members = kernel.profile.struct("kernfs_node").members
        above = members["parent" if "parent" in members else "__parent"].offset
        return self._memory.read_u64(node + above) if parent else node

    def settle(self) -> None:
        """What is known now is what changes are told from."""
        self._remembering = False

    def entries(self, directory: int) -> dict[str, int]:
        """What is in a directory."""
        word, offset = self._reader.word, self._dir
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
        first = reader.word(directory + self._dir + self._children)
        nodes = (rb - self._rb for rb in _rb_walk(reader, first))
        return {reader.text(reader.word(node + name)): node for node in nodes}

    def find(self, path: str) -> dict[str, int]:
        """What is in the directory of a path below /sys; nothing where there is none."""
        node: int | None = self.root
        for name in filter(None, path.split("/")):
            node = self.entries(node).get(name) if node else None
        return self.entries(node) if node else {}

    def mode(self, node: int) -> int:
        """A node's mode, as stat(2) tells."""
        return self._memory.read_u16(node + self._mode)


def _rb_walk(reader: Reader, node: int) -> Iterator[int]:
    """All nodes of a red-black tree, by the address of their rb_node."""
    waiting = [node]
    while waiting:
        if node := waiting.pop():
            yield node
            waiting += reader.words(node)[1:]


def root_of(kernel: VmlinuxKernel, kind: str) -> int:
    """The root dentry of the first mounted file system of a kind, 0 where none is."""
    layout = kernel.profile.struct("super_block")
    for entry in lists.walk(kernel.memory, kernel.symbol("super_blocks")):
        view = kernel.view("super_block", entry - layout.offset("s_list"))
        if view.s_root and kernel.memory.read_text(kernel.memory.read_u64(view.s_type)) == kind:
            return view.s_root
    return 0


def dentries(kernel: VmlinuxKernel, directory: int) -> Iterator[tuple[str, int]]:
    """Names in a directory of a file system that is all in the dcache, with their dentries."""
    layout, reader = kernel.profile.struct("dentry"), Reader(kernel)
    if "d_subdirs" in layout.members:
        link = layout.offset("d_child")
        found: Iterator[int] = lists.walk(kernel.memory, directory + layout.offset("d_subdirs"))
    else:
        link = layout.offset("d_sib")
        found = lists.hlist_walk(kernel.memory, directory + layout.offset("d_children"))
    inode, hashed = layout.offset("d_inode"), layout.offset("d_hash") + 8
    name = layout.offset("d_name") + 8
    for entry in found:
        dentry = entry - link
        if reader.word(dentry + inode) and reader.word(dentry + hashed):
            yield reader.text(reader.word(dentry + name)), dentry


def device_files(kernel: VmlinuxKernel, directory: int, path: str) -> Iterator[tuple[str, StructView]]:
    """Paths below a directory of devtmpfs, those of directories with a slash behind, with their inodes."""
    for name, dentry in dentries(kernel, directory):
        inode = kernel.view("inode", kernel.view("dentry", dentry).d_inode)
        if inode.i_mode & S_IFMT == S_IFDIR:
            yield f"{path}{name}/", inode
            yield from device_files(kernel, dentry, f"{path}{name}/")
        else:
            yield f"{path}{name}", inode


def proc_entries(kernel: VmlinuxKernel, directory: int) -> dict[str, int]:
    """Names in a directory of /proc that the kernel made, with their struct proc_dir_entry."""
    layout, reader = kernel.profile.struct("proc_dir_entry"), Reader(kernel)
    first, link, name = (layout.offset(member) for member in ("subdir", "subdir_node", "name"))
    rows = (rb - link for rb in _rb_walk(reader, reader.word(directory + first)))
    return {reader.text(reader.word(row + name)): row for row in rows}


def sysctls(kernel: VmlinuxKernel, table_set: int) -> Iterator[str]:
    """Paths below /proc/sys that a struct ctl_table_set has: three levels of directories."""
    first = table_set + kernel.profile.offset("ctl_table_set", "dir")
    yield from _Sysctls(kernel).below(first, "", 3)


class _Sysctls:
    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._reader, profile = Reader(kernel), kernel.profile
        self._root = profile.offset("ctl_dir", "root")
        self._table, self._nodes = (
            profile.offset("ctl_table_header", name) for name in ("ctl_table", "node")
        )
        entry = profile.struct("ctl_table")
        self._size, self._name, self._mode = entry.size, entry.offset("procname"), entry.offset("mode")
        self._headers: dict[int, tuple[int, int]] = {}  # where entries and their nodes are

    def below(self, directory: int, path: str, levels: int) -> Iterator[str]:
        reader = self._reader
        for node in _rb_walk(reader, reader.word(directory + self._root)):
            header = reader.word(node + _RB_NODE)
            if header not in self._headers:
                self._headers[header] = reader.word(header + self._table), reader.word(header + self._nodes)
            table, nodes = self._headers[header]
            entry = table + (node - nodes) // _CTL_NODE * self._size
            name = f"{path}/{reader.text(reader.word(entry + self._name))}"
            yield name
            if levels > 1 and reader.word(entry + self._mode) & S_IFMT == S_IFDIR:
                yield from self.below(header, name, levels - 1)
