"""Superblocks, inodes and dentries: what files are and how they are named (include/linux/fs.h, dcache.h).

A kind of file system derives its inodes from `Inode` and overrides what it can do; what it leaves out
refuses as the VFS does for an operation that is missing. An inode has a `struct inode` in guest memory only
when guest code is to see it (guest_file.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
from kmod_emu.uapi.stat import S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, S_IXUGO, is_type

if TYPE_CHECKING:
    from kmod_emu.fs.file import FileOperations
    from kmod_emu.kernel.tasks import Task

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
PAGE_SIZE = 4096


class SuperBlock:
    """One mounted file system.

    Attributes:
        kind: The type's name, as /proc/mounts has it.
        magic: What statfs(2) says.
        dev: What stat(2) says in st_dev, a kernel device number.
        root: Its root dentry.
        covers: The directory it is mounted on, None for the root file system.
        now: The time for new inodes, in nanoseconds since 1970.
    """

    def __init__(self, kind: str, magic: int, dev: int) -> None:
        self.kind, self.magic, self.dev = kind, magic, dev
        self.covers: Dentry | None = None
        self.root: Dentry
        self.address = self.mount_address = 0  # struct super_block and struct vfsmount in guest memory
        self._last_ino = 0

    def next_ino(self) -> int:
        """A fresh inode number."""
        self._last_ino += 1
        return self._last_ino


class Entry(NamedTuple):
    """What getdents(2) says of one name; `kind` is S_IF*."""

    name: str
    ino: int
    kind: int


class Times:
    """Access, modification and change time, nanoseconds since 1970."""

    __slots__ = ("access", "change", "modify")

    def __init__(self, now: int = 0) -> None:
        self.access = self.modify = self.change = now


class Inode:
    """A file, directory, link or special file, whatever its names.

    Attributes:
        mode: Type and permissions, as in st_mode.
        rdev: The device that a special file stands for, as a kernel device number.
        fop: What an open file of it can do.
        address: Of its `struct inode` in guest memory, 0 while no guest code has seen it.
        writers: How many have it open for writing; below 0, how many forbid that.
    """

    sb: SuperBlock
    fop: FileOperations
    stored = False  # whether regular files take up blocks

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, *, now: int = 0) -> None:
        self.sb, self.mode, self.uid, self.gid = sb, mode, uid, gid
        self.ino = sb.next_ino()
        self.nlink = 2 if mode & S_IFDIR == S_IFDIR else 1
        self.rdev = 0
        self.times = Times(now)
        self.address = 0
        self.writers = 0

    @property
    def guest(self) -> bool:
        """Whether guest code serves it though it is no device, and is to see its `struct file`."""
        return False

    @property
    def size(self) -> int:
        """Bytes, as in st_size."""
        return 0

    @property
    def image(self) -> bytes | None:
        """The contents as they can be mapped or executed, None where they are computed."""
        return None

    def is_type(self, kind: int) -> bool:
        """Whether it is of a type, S_IF*."""
        return is_type(self.mode, kind)

    # --- directories --------------------------------------------------------------------------------

    def lookup(self, parent: Dentry, name: str) -> Dentry | None:
        """The entry of that name, None where there is none; ENOTDIR for what is no directory."""
        raise KernelError(errno.ENOTDIR)

    def entries(self, dentry: Dentry) -> list[Entry]:
        """All entries but `.` and `..`, in the order of the file system."""
        raise KernelError(errno.ENOTDIR)

    def is_empty(self) -> bool:
        """Whether a directory may be removed."""
        return False

    def create(self, parent: Dentry, name: str, mode: int, task: Task, rdev: int = 0) -> Dentry:
        """A new file, directory or special file, by the type in `mode`."""
        if is_type(mode, S_IFREG):
            raise KernelError(errno.EACCES, f"no file can be created in {parent.path}")
        raise KernelError(errno.EPERM, f"nothing can be created in {parent.path}")

    def symlink(self, parent: Dentry, name: str, target: str, task: Task) -> Dentry:
        """A new symbolic link."""
        raise KernelError(errno.EPERM, f"no link can be created in {parent.path}")

    def link(self, parent: Dentry, name: str, inode: Inode) -> Dentry:
        """One more name of a file."""
        raise KernelError(errno.EPERM, f"no link can be created in {parent.path}")

    def unlink(self, dentry: Dentry) -> None:
        """Remove a name; it may be a directory's that is empty."""
        raise KernelError(errno.EPERM, f"nothing can be removed from {dentry.parent.path}")

    def rename(self, dentry: Dentry, parent: Dentry, name: str) -> None:
        """Move a name to `parent`, a directory of the same file system."""
        raise KernelError(errno.EPERM, f"nothing can be renamed in {dentry.parent.path}")

    # --- others -------------------------------------------------------------------------------------

    def readlink(self) -> str:
        """Where a symbolic link points."""
        raise KernelError(errno.EINVAL, "this is no symbolic link")

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long; what has no contents of its own ignores it."""

    def check_open(self, flags: int) -> None:
        """A last word of the file system on opening it (sysfs: not even root against the mode)."""

    def changed(self) -> None:
        """Owner, mode or size were changed from Python: what guest code sees of them follows."""


class Dentry:
    """A name in a directory and the inode it leads to.

    Attributes:
        address: Of its `struct dentry` in guest memory, 0 while no guest code has seen it.
        mounted: Root of the file system mounted here.
    """

    __slots__ = ("address", "inode", "mounted", "name", "parent", "unhashed")

    def __init__(self, name: str, parent: Dentry | None, inode: Inode) -> None:
        self.name, self.inode = name, inode
        self.parent: Dentry = parent or self
        self.mounted: SuperBlock | None = None
        self.address = 0
        self.unhashed = False  # its name was removed

    @property
    def above(self) -> Dentry:
        """What `..` leads to, across the place it is mounted on."""
        dentry = self
        while dentry.parent is dentry and dentry.inode.sb.covers is not None:
            dentry = dentry.inode.sb.covers
        return dentry.parent

    @property
    def path(self) -> str:
        """From the root of all."""
        names: list[str] = []
        dentry = self
        while True:
            while dentry.parent is dentry:
                if dentry.inode.sb.covers is None:
                    return "/" + "/".join(reversed(names))
                dentry = dentry.inode.sb.covers
            names.append(dentry.name)
            dentry = dentry.parent


def permission(task: Task, inode: Inode, mask: int) -> bool:
    """Whether a task may read, write or execute (fs/namei.c: generic_permission)."""
    mode = inode.mode
    shift = 6 if task.who("fsuid") == inode.uid else 3 if task.in_group(inode.gid) else 0
    if mode >> shift & mask == mask:
        return True
    if is_type(mode, S_IFDIR):
        if not mask & MAY_WRITE and task.capable(CAP_DAC_READ_SEARCH):
            return True
        return task.capable(CAP_DAC_OVERRIDE)
    if mask == MAY_READ and task.capable(CAP_DAC_READ_SEARCH):
        return True
    return (not mask & MAY_EXEC or bool(mode & S_IXUGO)) and task.capable(CAP_DAC_OVERRIDE)


def need(task: Task, inode: Inode, mask: int, path: str) -> None:
    """Raise EACCES unless a task may."""
    if not permission(task, inode, mask):
        raise KernelError(errno.EACCES, f"uid {task.who('fsuid')} has no permission on {path}")


def special(inode: Inode) -> bool:
    """Whether its contents are not the file system's own."""
    return not inode.is_type(S_IFREG) and not inode.is_type(S_IFDIR) and not inode.is_type(S_IFLNK)


def is_device(inode: Inode) -> bool:
    """Whether it stands for a character device."""
    return inode.is_type(S_IFCHR)
