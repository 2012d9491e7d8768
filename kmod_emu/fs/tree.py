"""Virtual files: /proc and /sys as a tree that is computed when somebody looks.

A directory is a function that lists its children at this moment, a file a function that produces its text
for the reading task. Nothing is stored, so nothing can be out of date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.order import proc_key, sysfs_key
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.tasks import Task

    Reader = Callable[[Task], Any]  # str or bytes, or a coroutine that returns them
    Writer = Callable[[Task, bytes], Any]
    Lister = Callable[[], "dict[str, Node]"]

MAX_LINKS = 40
_S_IFDIR, _S_IFREG, _S_IFLNK = 0o040000, 0o100000, 0o120000


class Node:
    """A file, directory or symbolic link.

    Args:
        mode: Permission bits.
        read: Produces a file's contents; may raise KernelError. It may be a coroutine function.
        write: Takes what is written to a file. It may be a coroutine function.
        children: Lists a directory.
        target: Where a symbolic link points.
    """

    def __init__(
        self,
        mode: int,
        read: Reader | None = None,
        write: Writer | None = None,
        children: Lister | None = None,
        target: str | None = None,
    ) -> None:
        self.permissions = mode
        self.read, self.write, self.children, self.target = read, write, children, target

    @property
    def mode(self) -> int:
        """st_mode: type and permissions."""
        kind = _S_IFDIR if self.children else _S_IFLNK if self.target is not None else _S_IFREG
        return kind | self.permissions

    def allows(self, task: Task, bit: int) -> bool:
        """Whether the permission bits let a task read (4) or write (2); the files belong to root."""
        if task.uid == 0:
            return True
        return bool(self.permissions >> (3 if task.gid == 0 else 0) & bit)


def directory(children: dict[str, Node] | Lister, mode: int = 0o555) -> Node:
    """A directory with fixed children, or with those a function lists."""
    return Node(mode, children=children if callable(children) else lambda: children)


class FileTree:
    """The root directory and what is mounted on it."""

    def __init__(self) -> None:
        self._mounts: dict[str, Node] = {}
        self.root = directory(lambda: self._mounts)

    def mount(self, name: str, node: Node) -> None:
        """Put a directory into the root."""
        self._mounts[name] = node

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, in the order of its file system.

        Raises:
            KernelError: ENOENT, ENOTDIR, ELOOP.
        """
        node = self.lookup(path)
        if node.children is None:
            raise KernelError(errno.ENOTDIR, f"{path} is not a directory")
        mount = path.strip("/").partition("/")[0]
        return sorted(node.children(), key=sysfs_key if mount == "sys" else proc_key)

    def lookup(self, path: str, *, follow: bool = True) -> Node:
        """Walk a path from the root.

        Raises:
            KernelError: ENOENT, ENOTDIR, ELOOP.
        """
        return self._walk(path, follow, MAX_LINKS)

    def _walk(self, path: str, follow: bool, links: int) -> Node:
        names = [name for name in path.split("/") if name and name != "."]
        trail = [self.root]
        for position, name in enumerate(names):
            if name == "..":
                trail = trail[:-1] or trail
                continue
            if trail[-1].children is None:
                raise KernelError(errno.ENOTDIR, f"{path}: a component is not a directory")
            child = trail[-1].children().get(name)
            if child is None:
                raise KernelError(errno.ENOENT, f"{path} does not exist on this machine")
            if child.target is not None and (follow or position + 1 < len(names)):
                if not links:
                    raise KernelError(errno.ELOOP, f"{path}: too many symbolic links")
                base = "/" + "/".join(names[:position])
                child = self._walk(f"{base}/{child.target}", True, links - 1)
            trail.append(child)
        return trail[-1]
