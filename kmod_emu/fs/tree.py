"""Computed files: /proc and /sys as trees that are made up when somebody looks.

A directory is a function that lists its children at this moment, a file a function that produces its text
for the reading task. Nothing is stored, so nothing can be out of date. `NodeSuperBlock` mounts such a tree.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import BufferedOperations, seek
from kmod_emu.fs.inode import Dentry, Entry, Inode, SuperBlock
from kmod_emu.fs.readdir import DirectoryOperations
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_RDONLY, O_WRONLY
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.fs.file import File, FileOperations
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

    Reader = Callable[[Any], Any]  # str or bytes, or a coroutine that returns them
    Writer = Callable[[Task, bytes], Any]
    Lister = Callable[[], "dict[str, Node]"]

PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572


class Node:
    """A file, directory or symbolic link.

    Args:
        mode: Permission bits.
        read: Produces a file's contents; may raise KernelError. It may be a coroutine function.
        write: Takes what is written to a file. It may be a coroutine function.
        children: Lists a directory.
        target: Where a symbolic link points.
        strict: Not even root may open it against its mode, nor anything below it (sysfs, sysctls).
        size: What stat(2) says of a file.
        opened: Asked when a file is opened; `read` then gets its answer and not the reading task.
        whole: Reading a file anywhere but at its start is EINVAL (a binary attribute without an offset).
    """

    def __init__(
        self,
        mode: int,
        read: Reader | None = None,
        write: Writer | None = None,
        children: Lister | None = None,
        target: str | None = None,
        *,
        strict: bool = False,
        size: int = 0,
        opened: Callable[[Task], Any] | None = None,
        whole: bool = False,
    ) -> None:
        self.permissions = mode
        self.read, self.write, self.children, self.target = read, write, children, target
        self.strict, self.size, self.opened, self.whole = strict, size, opened, whole
        self.operations: FileOperations | None = None  # serves the file, where `read` and `write` do not
        self.uid = self.gid = 0
        self.guest = False  # whether guest code serves it, and is to see its struct file
        self.chmod: Callable[[int], None] | None = None  # keeps permissions that a process sets
        self.emptied: Callable[[], None] | None = None  # called when the file is opened to be overwritten

    @property
    def mode(self) -> int:
        """st_mode: type and permissions."""
        kind = S_IFDIR if self.children else S_IFLNK if self.target is not None else S_IFREG
        return kind | self.permissions

    def dentry(self, sb: NodeSuperBlock, name: str, parent: Dentry, ino: int, strict: bool) -> Dentry:
        """Its name in a directory, made anew at each lookup."""
        return Dentry(name, parent, NodeInode(sb, self, ino, strict))


def directory(children: dict[str, Node] | Lister, mode: int = 0o555, *, strict: bool = False) -> Node:
    """A directory with fixed children, or with those a function lists."""
    return Node(mode, children=children if callable(children) else lambda: children, strict=strict)


class _Opened:
    """What is kept of an open file: what was found at opening it, and its text."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.text: bytes | None = None


class NodeOperations(BufferedOperations):
    """Files whose text is produced when they are read from the start, and again after going back there."""

    async def open(self, file: File) -> int:
        """Ask what the opener may see."""
        asks = _node(file.inode).opened
        file.private = _Opened(asks(self.kernel.sched.current) if asks else None)
        return 0

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """A piece of the text."""
        node, opened = _node(file.inode), file.private
        assert isinstance(opened, _Opened)
        if node.whole and pos:
            if pos < node.size:
                raise KernelError(errno.EINVAL, "the file is read from its start")
            return b""
        if pos == 0 or opened.text is None:
            if node.read is None:
                raise KernelError(errno.EIO, "the file cannot be read")
            text = await finished(node.read(opened.answer if node.opened else self.kernel.sched.current))
            opened.text = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        assert opened.text is not None
        return opened.text[pos : pos + count]

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """One call of the writer, whatever the position."""
        write = _node(file.inode).write
        if write is None:
            raise KernelError(errno.EIO, "the file cannot be written")
        taken = await finished(write(self.kernel.sched.current, data)) if data else None
        return len(data) if taken is None else int(taken)

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Where the text ends is not known beforehand (fs/seq_file.c: seq_lseek), unless stat(2) says it."""
        if file.inode.size:
            return seek(file, offset, whence, file.inode.size)
        if whence > 1:
            raise KernelError(errno.EINVAL, "the end of the file is not known")
        position = offset + (file.pos if whence else 0)
        if position < 0:
            raise KernelError(errno.EINVAL, "the position would be negative")
        file.pos = position
        return position


async def finished(result: Any) -> Any:
    """What a function returned, or what its coroutine returns."""
    return await result if hasattr(result, "__await__") else result


def _node(inode: Inode) -> Node:
    assert isinstance(inode, NodeInode)
    return inode.node


class NodeInode(Inode):
    """What a `Node` is to the VFS."""

    sb: NodeSuperBlock

    def __init__(self, sb: NodeSuperBlock, node: Node, ino: int, strict: bool) -> None:
        super().__init__(sb, node.mode, node.uid, node.gid, now=EPOCH_AT_BOOT_NS + sb.kernel.clock.now_ns)
        self.node, self.ino, self.strict = node, ino, strict or node.strict
        self.fop = node.operations or (sb.directories if node.children else sb.files)

    @property
    def guest(self) -> bool:
        """As the node says."""
        return self.node.guest

    @property
    def size(self) -> int:
        """As the node says."""
        return self.node.size

    def changed(self) -> None:
        """Whoever makes up the node next time has to know."""
        if self.node.chmod is not None:
            self.node.chmod(self.mode & ~S_IFMT)

    def truncate(self, size: int) -> None:
        """Means something to some."""
        if self.node.emptied is not None:
            self.node.emptied()

    def lookup(self, parent: Dentry, name: str) -> Dentry | None:
        """List and look."""
        if self.node.children is None:
            raise KernelError(errno.ENOTDIR)
        child = self.node.children().get(name)
        if child is None:
            return None
        return child.dentry(self.sb, name, parent, _ino(self.ino, name), self.strict)

    def entries(self, dentry: Dentry) -> list[Entry]:
        """In the file system's order."""
        if self.node.children is None:
            raise KernelError(errno.ENOTDIR)
        children = self.node.children()
        return [
            Entry(name, _ino(self.ino, name), children[name].mode & S_IFMT)
            for name in sorted(children, key=self.sb.order)
        ]

    def create(self, parent: Dentry, name: str, mode: int, task: Task, rdev: int = 0) -> Dentry:
        """Not possible; /proc says so when the name is looked up, for files and directories alike."""
        if self.sb.kind == "proc":
            raise KernelError(errno.ENOENT, "nothing can be created in /proc")
        return super().create(parent, name, mode, task, rdev)

    def readlink(self) -> str:
        """The node's target."""
        return self.node.target if self.node.target is not None else super().readlink()

    def check_open(self, flags: int) -> None:
        """Sysfs and sysctls ask the mode once more, and whether there is a method (fs/kernfs/file.c)."""
        if not self.strict or self.node.children:
            return
        node, access = self.node, flags & O_ACCMODE
        for unwanted, bits, method in ((O_WRONLY, 0o444, node.read), (O_RDONLY, 0o222, node.write)):
            if access != unwanted and (method is None or not node.permissions & bits):
                raise KernelError(errno.EACCES, "the file cannot be opened this way, not even by root")


def _ino(parent: int, name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogateescape"), parent) or 1


class NodeSuperBlock(SuperBlock):
    """A mounted tree of nodes.

    Args:
        order: Sort key of names, see order.py.
    """

    def __init__(
        self, kernel: KernelCore, kind: str, magic: int, dev: int, root: Node, order: Callable[[str], Any]
    ) -> None:
        super().__init__(kind, magic, dev)
        self.kernel, self.order = kernel, order
        self.files, self.directories = NodeOperations(kernel), DirectoryOperations(kernel)
        self.root = Dentry("", None, NodeInode(self, root, 1, root.strict))
