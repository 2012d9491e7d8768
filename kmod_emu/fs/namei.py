"""Paths: walking them, and what can be done to the names at their ends (fs/namei.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.inode import MAY_EXEC, MAY_WRITE, Dentry, need
from kmod_emu.uapi import errno
from kmod_emu.uapi.capability import CAP_FOWNER, CAP_MKNOD
from kmod_emu.uapi.stat import S_IALLUGO, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISVTX

if TYPE_CHECKING:
    from kmod_emu.fs.fdtable import FsStruct
    from kmod_emu.kernel.tasks import Task

MAX_LINKS = 40


class Place(NamedTuple):
    """Where a path leads.

    Attributes:
        parent: The directory of the last name.
        name: The last name; "" where the path ends in `/`, `.` or `..` alone.
        dentry: What is there, None if nothing.
        slash: The path ended in a slash: only a directory may be there.
    """

    parent: Dentry
    name: str
    dentry: Dentry | None
    slash: bool

    @property
    def found(self) -> Dentry:
        """What is there; ENOENT if nothing, ENOTDIR where the slash asks for more than there is."""
        if self.dentry is None:
            raise KernelError(errno.ENOENT, f"there is no {self.path} on this machine")
        if self.slash and not self.dentry.inode.is_type(S_IFDIR):
            raise KernelError(errno.ENOTDIR, f"{self.path} is no directory")
        return self.dentry

    @property
    def path(self) -> str:
        """For messages."""
        return f"{self.parent.path.rstrip('/')}/{self.name}"


class Walker:
    """One walk: whose, from where, how many links so far."""

    def __init__(self, task: Task, fs: FsStruct, start: Dentry | None = None) -> None:
        self._task, self._root = task, fs.root
        self._start = start or fs.cwd
        self._links = 0

    def walk(self, path: str, *, follow: bool = True) -> Place:
        """Follow a path; the last name need not exist.

        Raises:
            KernelError: ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
        """
        if not path:
            raise KernelError(errno.ENOENT, "the path is empty")
        place = self._walk(self._root if path.startswith("/") else self._start, path, follow)
        if place.slash and place.dentry is not None and place.dentry.inode.is_type(S_IFLNK):
            place = self._walk(place.parent, place.name + "/.", True)  # a slash makes a link followed
        return place

    def _walk(self, here: Dentry, path: str, follow: bool) -> Place:
        names = [name for name in path.split("/") if name]
        slash = path.endswith("/") and bool(names)
        place = Place(here, "", here, slash)
        for position, name in enumerate(names):
            last = position + 1 == len(names)
            if place.dentry is None:
                raise KernelError(errno.ENOENT, f"there is no {place.path} on this machine")
            place = self._step(place.dentry, name)._replace(slash=slash and last)
            found = place.dentry
            if found is not None and found.inode.is_type(S_IFLNK) and (follow or not last):
                target = self._follow(place.parent, found)
                place = target._replace(slash=target.slash or (slash and last))
        return place

    def _step(self, here: Dentry, name: str) -> Place:
        if not here.inode.is_type(S_IFDIR):
            raise KernelError(errno.ENOTDIR, f"{here.path} is no directory")
        need(self._task, here.inode, MAY_EXEC, here.path)
        if name == ".":
            return Place(here.above, "", here, False)
        if name == "..":
            above = here if here is self._root else here.above
            return Place(above.above, "", above, False)
        dentry = here.inode.lookup(here, name)
        while dentry is not None and dentry.mounted is not None:
            dentry = dentry.mounted.root
        return Place(here, name, dentry, False)

    def _follow(self, parent: Dentry, link: Dentry) -> Place:
        self._links += 1
        if self._links > MAX_LINKS:
            raise KernelError(errno.ELOOP, f"{link.path}: too many symbolic links")
        target = link.inode.readlink()
        if not target:
            raise KernelError(errno.ENOENT, f"{link.path} points nowhere")
        return self._walk(self._root if target.startswith("/") else parent, target, True)


# --- making and removing names ------------------------------------------------------------------------


def _may_create(task: Task, place: Place, *, directory: bool = False) -> None:
    """filename_create() and may_create()."""
    if not place.name or place.dentry is not None:
        raise KernelError(errno.EEXIST, f"{place.path} exists")
    if place.slash and not directory:
        raise KernelError(errno.ENOENT, f"{place.path}/ cannot be made but as a directory")
    if place.parent.unhashed:
        raise KernelError(errno.ENOENT, "the directory was removed")
    need(task, place.parent.inode, MAY_WRITE | MAY_EXEC, place.parent.path)


def vfs_create(task: Task, fs: FsStruct, place: Place, mode: int) -> Dentry:
    """A regular file."""
    _may_create(task, place)
    mode = S_IFREG | (mode & S_IALLUGO & ~fs.umask)
    return place.parent.inode.create(place.parent, place.name, mode, task)


def vfs_mkdir(task: Task, fs: FsStruct, place: Place, mode: int) -> Dentry:
    """A directory."""
    _may_create(task, place, directory=True)
    mode = S_IFDIR | (mode & (0o777 | S_ISVTX) & ~fs.umask)
    return place.parent.inode.create(place.parent, place.name, mode, task)


def may_mknod(mode: int) -> int:
    """The type in a mode given to mknod(2), 0 meaning a regular file; EPERM, EINVAL."""
    kind = mode & S_IFMT or S_IFREG
    if kind == S_IFDIR:
        raise KernelError(errno.EPERM, "mknod makes no directories")
    if kind not in (S_IFREG, S_IFCHR, S_IFBLK, 0o010000, 0o140000):
        raise KernelError(errno.EINVAL, f"{mode:#o} is no type of file")
    return kind


def vfs_mknod(task: Task, fs: FsStruct, place: Place, mode: int, rdev: int) -> Dentry:
    """A special file; devices need CAP_MKNOD."""
    kind = may_mknod(mode)
    _may_create(task, place)
    if kind in (S_IFCHR, S_IFBLK) and not task.capable(CAP_MKNOD):
        raise KernelError(errno.EPERM, f"uid {task.uid} has no CAP_MKNOD: only root makes device files")
    mode = kind | (mode & S_IALLUGO & ~fs.umask)
    return place.parent.inode.create(
        place.parent, place.name, mode, task, rdev if kind in (S_IFCHR, S_IFBLK) else 0
    )


def vfs_symlink(task: Task, place: Place, target: str) -> Dentry:
    """A symbolic link."""
    _may_create(task, place)
    return place.parent.inode.symlink(place.parent, place.name, target, task)


def vfs_link(task: Task, old: Dentry, place: Place) -> Dentry:
    """One more name of a file."""
    _may_create(task, place)
    if old.inode.sb is not place.parent.inode.sb:
        raise KernelError(errno.EXDEV, "a link cannot lead to another file system")
    if old.inode.is_type(S_IFDIR):
        raise KernelError(errno.EPERM, "a directory has one name only")
    if old.inode.nlink == 0:
        raise KernelError(errno.ENOENT, "the file was removed")
    return place.parent.inode.link(place.parent, place.name, old.inode)


def _may_delete(task: Task, place: Place) -> Dentry:
    dentry = place.found
    need(task, place.parent.inode, MAY_WRITE | MAY_EXEC, place.parent.path)
    _check_sticky(task, place.parent, dentry)
    return dentry


def _check_sticky(task: Task, parent: Dentry, dentry: Dentry) -> None:
    if not parent.inode.mode & S_ISVTX or task.who("fsuid") in (dentry.inode.uid, parent.inode.uid):
        return
    if not task.capable(CAP_FOWNER):
        raise KernelError(errno.EPERM, f"{parent.path} is sticky and {dentry.name} is somebody else's")


def vfs_unlink(task: Task, place: Place) -> Dentry:
    """Remove a name of a file."""
    if not place.name:
        raise KernelError(errno.EISDIR, "this is a directory")
    if place.dentry is not None and place.slash:
        is_directory = place.dentry.inode.is_type(S_IFDIR)
        raise KernelError(errno.EISDIR if is_directory else errno.ENOTDIR, f"{place.path}/")
    dentry = _may_delete(task, place)
    if dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.EISDIR, f"{place.path} is a directory")
    place.parent.inode.unlink(dentry)
    return dentry


def vfs_rmdir(task: Task, place: Place, last: str) -> Dentry:
    """Remove an empty directory."""
    if not place.name:
        raise KernelError(errno.EINVAL if last == "." else errno.ENOTEMPTY if last == ".." else errno.EBUSY)
    dentry = place.found
    if dentry.parent is dentry:
        raise KernelError(errno.EBUSY, f"a file system is mounted on {place.path}")
    _may_delete(task, place)
    if not dentry.inode.is_type(S_IFDIR):
        raise KernelError(errno.ENOTDIR, f"{place.path} is no directory")
    if type(place.parent.inode).unlink.__qualname__.startswith("Inode."):
        raise KernelError(errno.EPERM, f"nothing can be removed from {place.parent.path}")
    if not dentry.inode.is_empty():
        raise KernelError(errno.ENOTEMPTY, f"{place.path} is not empty")
    place.parent.inode.unlink(dentry)
    return dentry


def vfs_rename(task: Task, old: Place, new: Place, flags: int = 0) -> Dentry | None:
    """Move a name; what had the new one is removed and returned."""
    if not old.name or not new.name:
        raise KernelError(errno.EBUSY, "`.` and `..` cannot be renamed")
    if old.parent.inode.sb is not new.parent.inode.sb:
        raise KernelError(errno.EXDEV, "a name cannot move to another file system")
    dentry = old.found
    if new.dentry is not None and flags & 1:
        raise KernelError(errno.EEXIST, f"{new.path} exists")
    if dentry.parent is dentry or (new.dentry is not None and new.dentry.parent is new.dentry):
        raise KernelError(errno.EBUSY, "a file system is mounted there")
    _check_not_inside(dentry, new)
    _may_delete(task, old)
    if new.dentry is dentry or (new.dentry is not None and new.dentry.inode is dentry.inode):
        return None
    is_directory = dentry.inode.is_type(S_IFDIR)
    if new.dentry is None:
        need(task, new.parent.inode, MAY_WRITE | MAY_EXEC, new.parent.path)
        if (new.slash or old.slash) and not is_directory:
            raise KernelError(errno.ENOTDIR, f"{old.path} is no directory")
    else:
        _may_delete(task, new._replace(slash=False))
        if new.dentry.inode.is_type(S_IFDIR) != is_directory:
            raise KernelError(
                errno.ENOTDIR if is_directory else errno.EISDIR, f"{new.path} is of another type"
            )
        if is_directory and not new.dentry.inode.is_empty():
            raise KernelError(errno.ENOTEMPTY, f"{new.path} is not empty")
    old.parent.inode.rename(dentry, new.parent, new.name)
    return new.dentry


def _check_not_inside(dentry: Dentry, new: Place) -> None:
    """A directory cannot move into itself, nor replace one it lies in."""
    above = new.parent
    while above.parent is not above:
        if above is dentry:
            raise KernelError(errno.EINVAL, "a directory cannot move into itself")
        above = above.parent
    if new.dentry is not None:
        above = dentry.parent
        while above.parent is not above:
            if above is new.dentry:
                raise KernelError(errno.ENOTEMPTY, f"{new.path} is not empty")
            above = above.parent
