"""Open files without a name: a descriptor for an object of a driver's (fs/anon_inodes.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import FMODE_CAN_READ, FMODE_CAN_WRITE, FMODE_OPENED, FMODE_READ, FMODE_WRITE
from kmod_emu.fs.guest_file import GuestFile, GuestOperations
from kmod_emu.fs.inode import Dentry, Inode, SuperBlock
from kmod_emu.fs.open import do_dentry_open
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_CLOEXEC, O_NONBLOCK

if TYPE_CHECKING:
    from kmod_emu.fs.file import FileOperations
    from kmod_emu.kernel.kernel import KernelCore

ANON_INODE_FS_MAGIC = 0x09041934


class AnonInodes:
    """The one inode that all such files share."""

    def __init__(self, kernel: KernelCore) -> None:
        sb = SuperBlock("anon_inodefs", ANON_INODE_FS_MAGIC, kernel[Vfs].anonymous_dev())
        self.inode = Inode(sb, 0o600)
        self.inode.fop = GuestOperations(kernel)
        sb.root = Dentry("", None, self.inode)

    def save(self) -> list[int]:
        """Where guest memory has the inode."""
        return [
            self.inode.address,
            self.inode.sb.address,
            self.inode.sb.mount_address,
            self.inode.sb.root.address,
        ]

    def load(self, state: list[int]) -> None:
        """Put saved state back."""
        sb = self.inode.sb
        self.inode.address, sb.address, sb.mount_address, sb.root.address = state


def _open(kernel: KernelCore, name: str, fops: int, priv: int, flags: int) -> GuestFile:
    kernel[Vfs].check_limit()
    owner = kernel.memory.read_u64(fops)
    if owner and not kernel.try_module_get(owner):
        raise KernelError(errno.ENOENT, "the driver is being removed")
    inode = kernel[AnonInodes].inode
    file = GuestFile(kernel, Dentry(name, inode.sb.root, inode), flags & (O_ACCMODE | O_NONBLOCK))
    file.dentry.unhashed = True
    kernel[Vfs].open_files[file] = None
    file.fops, file.op = fops, GuestOperations(kernel)
    kernel.view("file", file.address).private_data = priv
    mode = file.mode | FMODE_OPENED
    if mode & FMODE_READ and file.op.can(file, "read"):
        mode |= FMODE_CAN_READ
    if mode & FMODE_WRITE and file.op.can(file, "write"):
        mode |= FMODE_CAN_WRITE
    file.mode = mode
    return file


async def anonymous_file(
    kernel: KernelCore, name: str, operations: FileOperations, flags: int, *, cloexec: bool
) -> int:
    """A descriptor for something that Python serves."""
    vfs = kernel[Vfs]
    sb = SuperBlock("anon_inodefs", ANON_INODE_FS_MAGIC, vfs.anonymous_dev())
    inode = Inode(sb, 0o600)
    inode.fop = operations
    dentry = sb.root = Dentry(f"anon_inode:{name}", None, inode)
    file = vfs.new_file(dentry, flags)
    await do_dentry_open(file)
    return vfs.files(kernel.sched.current).install(file, cloexec=cloexec)


@export(
    "struct file *anon_inode_getfile(const char *name, const struct file_operations *fops, void *priv, "
    "int flags)"
)
def anon_inode_getfile(kernel: KernelCore, name: str, fops: int, priv: int, flags: int) -> int:
    """An open file for an object of the driver's (fs/anon_inodes.c)."""
    return _open(kernel, name, fops, priv, flags).address


@export("int anon_inode_getfd(const char *name, const struct file_operations *fops, void *priv, int flags)")
def anon_inode_getfd(kernel: KernelCore, name: str, fops: int, priv: int, flags: int) -> int:
    """A descriptor for an object of the driver's (fs/anon_inodes.c)."""
    files = kernel[Vfs].files(kernel.sched.current)
    files.free_fd()  # EMFILE comes before anything is made
    return files.install(_open(kernel, name, fops, priv, flags), cloexec=bool(flags & O_CLOEXEC))
