"""Inodes of file systems that modules bring: they lie in guest memory, and nowhere else (fs/inode.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.fs.guest_file import init_inode
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.standin import declare_answers

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_I_NEW, _I_FREEING, _I_CLEAR = 1 << 3, 1 << 5, 1 << 6


class InodeNumbers:
    """The last number that get_next_ino() gave."""

    def __init__(self) -> None:
        self.last = 0

    def save(self) -> int:
        """State for a snapshot or file."""
        return self.last

    def load(self, state: int) -> None:
        """Put saved state back."""
        self.last = state


@export("unsigned int get_next_ino(void)")
def get_next_ino(kernel: KernelCore) -> int:
    """A number that no inode of a file system without a device has (fs/inode.c)."""
    numbers = kernel[InodeNumbers]
    numbers.last += 1
    return numbers.last


@export("struct inode *new_inode(struct super_block *sb)")
async def new_inode(kernel: KernelCore, sb: StructView) -> int:
    """An inode that is on the list of its file system's (fs/inode.c)."""
    make = kernel.view("super_operations", sb.s_op).alloc_inode if sb.s_op else 0
    address = await kernel.call_guest(make, sb.address) if make else 0
    if not make:
        address = kernel.heap.kmalloc(kernel.profile.struct("inode").size)
    if address:
        inode = init_inode(kernel, address, sb.address)
        inode.i_nlink, inode.i_blkbits = 1, sb.s_blocksize_bits
        lists.add(kernel.memory, inode.addressof("i_sb_list"), sb.addressof("s_inodes"))
    return address


@export("void free_inode_nonrcu(struct inode *inode)")
def free_inode_nonrcu(kernel: KernelCore, inode: int) -> None:
    """Its memory is given back (fs/inode.c)."""
    kernel.heap.kfree(inode)


@export("void iput(struct inode *inode)")
async def iput(kernel: KernelCore, inode: StructView) -> None:
    """One reference fewer; the last takes away what has no name, or what its file system does not keep."""
    if not inode.address:
        return
    inode.i_count -= 1
    if inode.i_count:
        return
    drop = _operation(kernel, inode, "drop_inode")
    if drop and not await kernel.call_guest_int(drop, inode.address):
        return
    if drop or not inode.i_nlink or not kernel.memory.read_u64(inode.addressof("i_hash") + 8):
        await evict(kernel, inode)


def _operation(kernel: KernelCore, inode: StructView, name: str) -> int:
    operations = kernel.view("super_block", inode.i_sb).s_op
    return kernel.view("super_operations", operations).get(name) if operations else 0


async def evict(kernel: KernelCore, inode: StructView) -> None:
    """It goes: evict(), destroy_inode()."""
    inode.i_state |= _I_FREEING
    lists.delete_init(kernel.memory, inode.addressof("i_sb_list"))
    if method := _operation(kernel, inode, "evict_inode"):
        await kernel.call_guest(method, inode.address)
    inode.i_state = _I_FREEING | _I_CLEAR
    destroy, free = (_operation(kernel, inode, name) for name in ("destroy_inode", "free_inode"))
    if destroy:
        await kernel.call_guest(destroy, inode.address)
    if free or not destroy:
        await kernel.call_guest(free or kernel.symbol("free_inode_nonrcu"), inode.address)


@export("ino_t iunique(struct super_block *sb, ino_t max_reserved)", Fidelity.APPROXIMATE)
def iunique(kernel: KernelCore, sb: int, max_reserved: int) -> int:
    """A number above the reserved ones; none of these inodes is hashed, so any will do (fs/inode.c)."""
    return max(get_next_ino(kernel), max_reserved + 1)


@export("void inc_nlink(struct inode *inode)")
def inc_nlink(kernel: KernelCore, inode: StructView) -> None:
    """One name more (fs/inode.c)."""
    inode.i_nlink += 1


@export("void drop_nlink(struct inode *inode)")
def drop_nlink(kernel: KernelCore, inode: StructView) -> None:
    """One name fewer (fs/inode.c)."""
    inode.i_nlink -= 1


@export("int generic_delete_inode(struct inode *inode)")
def generic_delete_inode(kernel: KernelCore, inode: int) -> int:
    """A drop_inode method: what nobody uses is not kept (fs/inode.c)."""
    return 1


@export("int simple_unlink(struct inode *dir, struct dentry *dentry)")
async def simple_unlink(kernel: KernelCore, dir: int, dentry: StructView) -> int:
    """A name goes: the reference that being there is (fs/libfs.c)."""
    drop_nlink(kernel, kernel.view("inode", dentry.d_inode))
    await kernel.call_guest(kernel.symbol("dput"), dentry.address)
    return 0


# Nobody watches the files of these file systems.
declare_answers(
    __name__,
    {
        "int fsnotify(__u32 mask, const void *data, int data_type, struct inode *dir,"
        " const struct qstr *file_name, struct inode *inode, u32 cookie)": 0
    },
)
