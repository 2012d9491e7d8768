"""/dev as drivers fill it (drivers/base/devtmpfs.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.open import drop_inode
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi.stat import S_IFCHR, S_IFDIR

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.kernel.kernel import KernelCore


class Devtmpfs:
    """Nodes and directories that drivers made, as opposed to those of mknod(2)."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._made: set[int] = set()  # inode numbers

    @property
    def _root(self) -> Dentry:
        return self._kernel[Vfs].dev.root

    def create_node(self, name: str, mode: int, dev: int) -> None:
        """A node with the directories above it; that it cannot be made is nobody's error."""
        where, parts = self._root, name.split("/")
        for part in parts[:-1]:
            below = where.inode.lookup(where, part)
            where = below if below is not None else self._make(where, part, S_IFDIR | 0o755)
            if not where.inode.is_type(S_IFDIR):
                return
        if where.inode.lookup(where, parts[-1]) is None:
            self._make(where, parts[-1], S_IFCHR | mode, dev)

    def _make(self, where: Dentry, name: str, mode: int, dev: int = 0) -> Dentry:
        dentry = where.inode.create(where, name, mode, self._kernel.tasks.init_task, dev)
        self._made.add(dentry.inode.ino)
        return dentry

    def delete_node(self, name: str) -> None:
        """Remove a node if a driver made it, and the directories that it was the last in."""
        dentry: Dentry | None = self._root
        for part in name.split("/"):
            try:
                dentry = dentry.inode.lookup(dentry, part) if dentry is not None else None
            except KernelError:
                return
        while dentry is not None and dentry is not self._root and dentry.inode.ino in self._made:
            if dentry.inode.is_type(S_IFDIR) and not dentry.inode.is_empty():
                return
            dentry.parent.inode.unlink(dentry)
            self._made.discard(dentry.inode.ino)
            drop_inode(self._kernel, dentry)
            dentry = dentry.parent

    def save(self) -> Any:
        """State for a snapshot or file."""
        return sorted(self._made)

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._made = set(state)
