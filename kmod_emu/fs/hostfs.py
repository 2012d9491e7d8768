"""Directories and files of the host that somebody chose to show (`--bind`), alive, and nothing beside them.

Symbolic links are followed inside the machine, so none leads out. Devices, pipes and sockets do not show.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, TypeVar

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import BufferedOperations
from kmod_emu.fs.inode import Dentry, Entry, Inode, SuperBlock
from kmod_emu.fs.readdir import DirectoryOperations
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_RDONLY
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

T = TypeVar("T")
MAGIC = 0x01021997  # V9FS_MAGIC, what a shared directory of a virtual machine has
SHOWN = (S_IFDIR, S_IFREG, S_IFLNK)


class HostSuperBlock(SuperBlock):
    """One binding.

    Args:
        path: The host's directory or file.
        read_only: Refuse all changes with EROFS.
    """

    def __init__(self, kernel: KernelCore, path: Path, dev: int, *, read_only: bool) -> None:
        super().__init__("hostfs", MAGIC, dev)
        self.read_only = read_only
        self.files, self.directories = HostFileOperations(kernel), DirectoryOperations(kernel)
        self.contents: dict[int, tuple[int, int, bytes]] = {}  # inode -> (time, size, contents)
        self.root = Dentry("", None, HostInode(self, path, os.stat(path)))

    def check_writable(self) -> None:
        """EROFS."""
        if self.read_only:
            raise KernelError(errno.EROFS, "it was bound read-only")


class HostInode(Inode):
    """A file of the host."""

    sb: HostSuperBlock
    stored = True

    def __init__(self, sb: HostSuperBlock, path: Path, facts: os.stat_result) -> None:
        mine = facts.st_uid == os.geteuid()
        super().__init__(sb, facts.st_mode, 0 if mine else facts.st_uid, 0 if mine else facts.st_gid)
        self.ino, self.nlink, self.path = facts.st_ino, facts.st_nlink, path
        self.times.access, self.times.modify = facts.st_atime_ns, facts.st_mtime_ns
        self.times.change = facts.st_ctime_ns
        self.fop = sb.directories if self.is_type(S_IFDIR) else sb.files

    @property
    def size(self) -> int:
        """Bytes now."""
        return 0 if self.is_type(S_IFDIR) else checked(lambda: os.lstat(self.path)).st_size

    @property
    def image(self) -> bytes:
        """Contents; the same object while the file does not change, so that programs share its pages."""
        facts = checked(lambda: os.lstat(self.path))
        known = self.sb.contents.get(self.ino)
        if known is None or known[:2] != (facts.st_mtime_ns, facts.st_size):
            known = facts.st_mtime_ns, facts.st_size, checked(self.path.read_bytes)
            self.sb.contents[self.ino] = known
        return known[2]

    def check_open(self, flags: int) -> None:
        """Nothing is opened for writing through a read-only binding."""
        if flags & O_ACCMODE != O_RDONLY:
            self.sb.check_writable()

    def readlink(self) -> str:
        """As the host has it."""
        return checked(lambda: os.readlink(self.path)) if self.is_type(S_IFLNK) else super().readlink()

    def truncate(self, size: int) -> None:
        """Cut, or fill with zeros."""
        self.sb.check_writable()
        checked(lambda: os.truncate(self.path, size))

    # --- directories --------------------------------------------------------------------------------

    def lookup(self, parent: Dentry, name: str) -> Dentry | None:
        """By name, what is shown."""
        if not self.is_type(S_IFDIR):
            raise KernelError(errno.ENOTDIR)
        try:
            facts = os.lstat(self.path / name)
        except (OSError, ValueError):
            return None
        if stat.S_IFMT(facts.st_mode) not in SHOWN:
            return None
        return Dentry(name, parent, HostInode(self.sb, self.path / name, facts))

    def entries(self, dentry: Dentry) -> list[Entry]:
        """By name."""
        found = []
        for name in sorted(checked(lambda: os.listdir(self.path))):
            child = self.lookup(dentry, name)
            if child is not None:
                found.append(Entry(name, child.inode.ino, child.inode.mode & S_IFMT))
        return found

    def is_empty(self) -> bool:
        """Whether no name is in it."""
        return not checked(lambda: os.listdir(self.path))

    def create(self, parent: Dentry, name: str, mode: int, task: Task, rdev: int = 0) -> Dentry:
        """Files and directories only."""
        self.sb.check_writable()
        place = self.path / name
        if mode & S_IFMT == S_IFDIR:
            checked(lambda: os.mkdir(place, mode & 0o777))
        elif mode & S_IFMT == S_IFREG:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(checked(lambda: os.open(place, flags, mode & 0o777)))
        else:
            raise KernelError(errno.EPERM, "no special files on the host")
        return Dentry(name, parent, HostInode(self.sb, place, os.lstat(place)))

    def unlink(self, dentry: Dentry) -> None:
        """Remove a name."""
        self.sb.check_writable()
        place = self.path / dentry.name
        remove = os.rmdir if dentry.inode.is_type(S_IFDIR) else os.unlink
        checked(lambda: remove(place))
        dentry.unhashed = True


class HostFileOperations(BufferedOperations):
    """Regular files of the host."""

    async def get(self, file: File, count: int, pos: int) -> bytes:
        """Bytes of the file."""
        return _host(file).image[pos : pos + count]

    async def put(self, file: File, data: bytes, pos: int) -> int:
        """Written at once."""
        inode = _host(file)
        inode.sb.check_writable()
        fd = checked(lambda: os.open(inode.path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)))
        try:
            return checked(lambda: os.pwrite(fd, data, pos))
        finally:
            os.close(fd)
            inode.sb.contents.pop(inode.ino, None)

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """Nothing to do."""
        return 0


def _host(file: File) -> HostInode:
    assert isinstance(file.inode, HostInode)
    return file.inode


def checked(call: Callable[[], T]) -> T:
    """The host's refusal as the machine's.

    Raises:
        KernelError: What the host said.
    """
    try:
        return call()
    except OSError as error:
        raise KernelError(errno.of_host(error.errno), f"the host says: {error.strerror}") from None
