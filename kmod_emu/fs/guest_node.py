"""Names in computed trees whose inode and dentry guest code may know: they stay the same while they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.fs.open import drop_inode
from kmod_emu.fs.tree import Node, NodeInode

if TYPE_CHECKING:
    from kmod_emu.fs.inode import Dentry
    from kmod_emu.fs.tree import NodeSuperBlock
    from kmod_emu.kernel.kernel import KernelCore


class GuestNode(Node):
    """A node of a module's."""

    def __init__(self, mode: int) -> None:
        super().__init__(mode)
        self._dentry: Dentry | None = None

    @property
    def inode(self) -> NodeInode | None:
        """Its inode, once somebody looked it up."""
        inode = self._dentry.inode if self._dentry else None
        assert inode is None or isinstance(inode, NodeInode)
        return inode

    def dentry(self, sb: NodeSuperBlock, name: str, parent: Dentry, ino: int, strict: bool) -> Dentry:
        """The same one each time."""
        if self._dentry is None:
            self._dentry = super().dentry(sb, name, parent, ino, strict=False)
        return self._dentry

    def unhash(self, kernel: KernelCore) -> None:
        """The name is gone; what guest memory holds of it goes with the last open file."""
        if self._dentry is not None:
            self._dentry.unhashed, self._dentry.inode.nlink = True, 0
            drop_inode(kernel, self._dentry)
