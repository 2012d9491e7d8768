"""Stored files: ramfs and devtmpfs (fs/ramfs/, fs/libfs.c)."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import BufferedOperations
from kmod_emu.fs.inode import Dentry, Entry, Inode, SuperBlock
from kmod_emu.fs.readdir import DirectoryOperations
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.fs.file import File, FileOperations
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

NAME_MAX = 255
RAMFS_MAGIC, TMPFS_MAGIC = 0x858458F6, 0x01021994


class RamFileOperations(BufferedOperations):
    """Regular files in memory."""

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """Bytes of the file."""
        return bytes(_contents(file.inode)[pos : pos + count])

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """Change or extend the file; a gap is zeros."""
        contents = _contents(file.inode)
        if pos + len(data) > MAX_FILE:
            raise KernelError(errno.EFBIG if pos > MAX_FILE else errno.ENOSPC, "the file would be too large")
        if pos > len(contents):
            contents += bytes(pos - len(contents))
        contents[pos : pos + len(data)] = data
        _stored(file.inode).touch()
        return len(data)

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """Nothing to do."""
        return 0


MAX_FILE = 1 << 30  # what the host's memory is spared


def _stored(inode: Inode) -> RamInode:
    assert isinstance(inode, RamInode)
    return inode


def _contents(inode: Inode) -> bytearray:
    return _stored(inode).data


class RamInode(Inode):
    """Of a ramfs: `data` is a file's contents, `names` a directory's.

    Attributes:
        lent: It is the host's, who gives it to each machine anew: not part of saved files.
    """

    sb: RamSuperBlock
    stored = True
    lent = False

    def __init__(self, sb: RamSuperBlock, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, mode, uid, gid, now=sb.clock())
        self.data, self._image = bytearray(), b""
        self.names: dict[str, Dentry] = {}
        self.target = ""
        self.fop = sb.fops.get(mode & S_IFMT, sb.special)

    @property
    def image(self) -> bytes:
        """Contents; the same object while they do not change, so that programs share the pages."""
        if self._image != self.data:
            self._image = bytes(self.data)
        return self._image

    @property
    def size(self) -> int:
        """Bytes; directories have none."""
        return len(self.target.encode("utf-8", "surrogateescape")) if self.target else len(self.data)

    # --- directories --------------------------------------------------------------------------------

    def lookup(self, parent: Dentry, name: str) -> Dentry | None:
        """By name."""
        if not self.is_type(S_IFDIR):
            raise KernelError(errno.ENOTDIR)
        if len(name.encode("utf-8", "surrogateescape")) > NAME_MAX:
            raise KernelError(errno.ENAMETOOLONG, "a name has at most 255 bytes")
        return self.names.get(name)

    def entries(self, dentry: Dentry) -> list[Entry]:
        """Newest first, as dcache_readdir walks them."""
        return [
            Entry(name, child.inode.ino, child.inode.mode & S_IFMT)
            for name, child in reversed(self.names.items())
        ]

    def is_empty(self) -> bool:
        """Whether no name is in it."""
        return not self.names

    def create(self, parent: Dentry, name: str, mode: int, task: Task, rdev: int = 0) -> Dentry:
        """Also devices; a directory with S_ISGID hands its group down."""
        gid = self.gid if self.mode & S_ISGID else task.who("fsgid")
        if self.mode & S_ISGID and mode & S_IFMT == S_IFDIR:
            mode |= S_ISGID
        inode = RamInode(self.sb, mode, task.who("fsuid"), gid)
        inode.rdev = rdev
        return self.add(parent, name, inode)

    def symlink(self, parent: Dentry, name: str, target: str, task: Task) -> Dentry:
        """Any text will do."""
        inode = RamInode(self.sb, S_IFLNK | 0o777, task.who("fsuid"), task.who("fsgid"))
        inode.target = target
        return self.add(parent, name, inode)

    def link(self, parent: Dentry, name: str, inode: Inode) -> Dentry:
        """One more name."""
        inode.nlink += 1
        return self.add(parent, name, inode, new=False)

    def add(self, parent: Dentry, name: str, inode: Inode, *, new: bool = True) -> Dentry:
        """Enter an inode under a name."""
        dentry = self.names[name] = Dentry(name, parent, inode)
        if new and inode.is_type(S_IFDIR):
            self.nlink += 1
        self.touch()
        return dentry

    def unlink(self, dentry: Dentry) -> None:
        """Take a name away."""
        self._leave(dentry)
        dentry.unhashed = True
        inode = dentry.inode
        inode.nlink -= 2 if inode.is_type(S_IFDIR) else 1
        inode.times.change = self.sb.clock()

    def rename(self, dentry: Dentry, parent: Dentry, name: str) -> None:
        """The dentry moves, and all below it."""
        there = parent.inode
        assert isinstance(there, RamInode)
        old = there.names.get(name)
        if old is not None:
            there.unlink(old)
        self._leave(dentry)
        dentry.name, dentry.parent = name, parent
        there.names[name] = dentry
        if dentry.inode.is_type(S_IFDIR):
            there.nlink += 1
        there.touch()

    def _leave(self, dentry: Dentry) -> None:
        del self.names[dentry.name]
        if dentry.inode.is_type(S_IFDIR):
            self.nlink -= 1
        self.touch()

    def touch(self) -> None:
        """Its contents have changed, and are the machine's from now on."""
        self.lent = False
        self.times.modify = self.times.change = self.sb.clock()

    # --- others -------------------------------------------------------------------------------------

    def readlink(self) -> str:
        """The text given."""
        return self.target if self.is_type(S_IFLNK) else super().readlink()

    def truncate(self, size: int) -> None:
        """Cut, or fill with zeros."""
        if not self.is_type(S_IFREG):
            return
        if size > MAX_FILE:
            raise KernelError(errno.EFBIG, "the file would be too large")
        self.data[size:] = bytes(max(size - len(self.data), 0))
        self.touch()


class RamSuperBlock(SuperBlock):
    """A file system in memory.

    Args:
        special: What opening a device, pipe or socket of it does.
        clock: Nanoseconds since 1970.
    """

    def __init__(
        self,
        kernel: KernelCore,
        kind: str,
        magic: int,
        dev: int,
        special: FileOperations,
        clock: Callable[[], int],
        mode: int = 0o755,
    ) -> None:
        super().__init__(kind, magic, dev)
        self.clock, self.special = clock, special
        self.fops = {S_IFREG: RamFileOperations(kernel), S_IFDIR: DirectoryOperations(kernel)}
        self.root = Dentry("", None, RamInode(self, S_IFDIR | mode))

    def save(self) -> Any:
        """All files, as plain data."""
        seen: dict[int, Any] = {}
        tree = _save_dentry(self.root, seen)
        return {"last_ino": self._last_ino, "tree": tree, "inodes": list(seen.values())}

    @contextmanager
    def without_lent(self) -> Iterator[None]:
        """Meanwhile what is lent is not there."""
        whole = [(inode, inode.names) for inode in _directories(self.root)]
        for inode, names in whole:
            inode.names = {name: child for name, child in names.items() if not _is_lent(child)}
        yield
        for inode, names in whole:
            inode.names = names

    def load(self, state: Any) -> None:
        """Put saved files back. What is mounted here is mounted again by whoever did it."""
        mounts = [(dentry.path, dentry.mounted) for dentry in _walk(self.root) if dentry.mounted]
        inodes = {item["ino"]: self._load_inode(item) for item in state["inodes"]}
        self.root.inode = inodes[state["tree"][1]]
        _load_children(self.root, state["tree"], inodes)
        self._last_ino = state["last_ino"]
        for path, mounted in mounts:
            dentry = self.root
            for name in path.split("/")[1:]:
                dentry = _names(dentry)[name]
            dentry.mounted, mounted.covers = mounted, dentry

    def _load_inode(self, item: Any) -> RamInode:
        inode = RamInode(self, item["mode"], item["uid"], item["gid"])
        inode.ino, inode.nlink, inode.rdev = item["ino"], item["nlink"], item["rdev"]
        inode.target, inode.data = item["target"], bytearray(base64.b64decode(item["data"]))
        inode.times.access, inode.times.modify, inode.times.change = item["times"]
        inode.address = item["address"]
        return inode


def save_inode(inode: RamInode) -> Any:
    """An inode as plain data."""
    return {
        "ino": inode.ino, "mode": inode.mode, "uid": inode.uid, "gid": inode.gid, "nlink": inode.nlink,
        "rdev": inode.rdev, "target": inode.target, "data": base64.b64encode(inode.data).decode(),
        "times": [inode.times.access, inode.times.modify, inode.times.change], "address": inode.address,
    }  # fmt: skip


def _save_dentry(dentry: Dentry, seen: dict[int, Any]) -> Any:
    """[name, inode number, address, children]."""
    inode = dentry.inode
    assert isinstance(inode, RamInode)
    if inode.ino not in seen:
        seen[inode.ino] = save_inode(inode)
    children = [_save_dentry(child, seen) for child in inode.names.values()]
    return [dentry.name, inode.ino, dentry.address, children]


def _load_children(dentry: Dentry, saved: Any, inodes: dict[int, RamInode]) -> None:
    dentry.address = saved[2]
    names = _names(dentry)
    for item in saved[3]:
        child = names[item[0]] = Dentry(item[0], dentry, inodes[item[1]])
        _load_children(child, item, inodes)


def _directories(root: Dentry) -> list[RamInode]:
    inodes = [dentry.inode for dentry in _walk(root)]
    return [inode for inode in inodes if isinstance(inode, RamInode) and inode.names]


def _is_lent(dentry: Dentry) -> bool:
    return isinstance(dentry.inode, RamInode) and dentry.inode.lent


def _names(dentry: Dentry) -> dict[str, Dentry]:
    assert isinstance(dentry.inode, RamInode)
    return dentry.inode.names


def _walk(dentry: Dentry) -> list[Dentry]:
    found = [dentry]
    for child in _names(dentry).values():
        found += _walk(child)
    return found
