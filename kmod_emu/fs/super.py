"""File systems of modules that the kernel mounts for itself, where nobody sees them (fs/super.c, fs/libfs.c).

Super block, root and mount are in guest memory; kept here is what is mounted, and how often it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.fs import dcache
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.locking import init_lock
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_KERNMOUNT, _ACTIVE = 1 << 22, 1 << 30  # SB_KERNMOUNT, SB_ACTIVE


class Mounts:
    """What the kernel has mounted for itself, and whose super blocks there are.

    Attributes:
        references: Address of a `struct vfsmount` -> who holds it.
        supers: Address of a `struct super_block` -> its `struct file_system_type`.
    """

    def __init__(self, kernel: KernelCore) -> None:
        self.references: dict[int, int] = {}
        self.supers: dict[int, int] = {}
        kernel.counted["file systems mounted"] = lambda: len(self.supers)

    def save(self) -> Any:
        """State for a snapshot or file."""
        return [list(self.references.items()), list(self.supers.items())]

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.references, self.supers = map(dict, state)


async def vfs_kern_mount(kernel: KernelCore, type: StructView) -> int:
    """Mount a file system for the kernel: its `struct vfsmount`.

    Raises:
        KernelError: What the file system says.
    """
    fc = kernel.view("fs_context", kernel.heap.kmalloc(kernel.profile.struct("fs_context").size))
    fc.fs_type, fc.sb_flags = type.address, _KERNMOUNT
    init_lock(kernel, "mutex", fc.addressof("uapi_mutex"))
    fc.net_ns, fc.user_ns = kernel.symbol("init_net"), kernel.symbol("init_user_ns")
    fc.cred = kernel.view("task_struct", kernel.sched.current.address).cred
    kernel.try_module_get(type.owner)
    error = await kernel.call_guest_int(type.init_fs_context, fc.address)
    operations = kernel.view("fs_context_operations", fc.ops) if not error else None
    if operations is not None:
        error = await kernel.call_guest_int(operations.get_tree, fc.address)
    mount = 0 if error else _new_mount(kernel, fc.root)
    if operations is not None and operations.free:
        await kernel.call_guest(operations.free, fc.address)
    kernel.module_put(type.owner)
    kernel.heap.kfree(fc.address)
    if error:
        raise KernelError(-error)
    return mount


def _new_mount(kernel: KernelCore, root: int) -> int:
    mount = kernel.view("vfsmount", kernel.heap.kmalloc(kernel.profile.struct("vfsmount").size))
    mount.mnt_root, mount.mnt_sb = root, kernel.view("dentry", root).d_sb
    kernel[Mounts].references[mount.address] = 1
    return mount.address


async def _get_super(kernel: KernelCore, fc: StructView, fill_super: int, *, single: bool) -> int:
    """vfs_get_super(): the file system's super block, or a new one that it fills in."""
    mounts = kernel[Mounts]
    known = [sb for sb, kind in mounts.supers.items() if single and kind == fc.fs_type]
    sb = kernel.view("super_block", known[0] if known else _alloc_super(kernel, fc))
    if known:
        sb.s_active += 1
    elif error := to_int(await kernel.call_guest(fill_super, sb.address, fc.address)):
        await _deactivate_super(kernel, sb)
        return error
    sb.s_flags |= _ACTIVE
    dcache.dget(kernel, sb.s_root)
    fc.root = sb.s_root
    return 0


def _alloc_super(kernel: KernelCore, fc: StructView) -> int:
    kind = kernel.view("file_system_type", fc.fs_type)
    sb = kernel.view("super_block", kernel.heap.kmalloc(kernel.profile.struct("super_block").size))
    sb.s_type, sb.s_flags, sb.s_user_ns = kind.address, fc.sb_flags, fc.user_ns
    sb.s_fs_info, fc.s_fs_info = fc.s_fs_info, 0
    sb.s_dev, sb.s_maxbytes, sb.s_time_gran = kernel[Vfs].anonymous_dev(), (1 << 31) - 1, 1_000_000_000
    sb.s_count = sb.s_active = 1
    for head in ("s_mounts", "s_inodes", "s_inodes_wb"):
        lists.init(kernel.memory, sb.addressof(head))
    init_lock(kernel, "rw_semaphore", sb.addressof("s_umount"))
    init_lock(kernel, "mutex", sb.addressof("s_vfs_rename_mutex"))
    sb.set_bytes("s_id", kernel.memory.read_text(kind.get("name")).encode()[:31])
    kernel.try_module_get(kind.owner)
    kernel[Mounts].supers[sb.address] = kind.address
    return sb.address


async def _deactivate_super(kernel: KernelCore, sb: StructView) -> None:
    """deactivate_super(): nobody has it mounted any more, so the file system takes it down."""
    sb.s_active -= 1
    if sb.s_active:
        return
    kind = kernel.view("file_system_type", sb.s_type)
    await kernel.call_guest(kind.kill_sb, sb.address)
    kernel.module_put(kind.owner)
    kernel.heap.kfree(sb.address)


@export(
    "int get_tree_single(struct fs_context *fc,"
    " int (*fill_super)(struct super_block *sb, struct fs_context *fc))"
)
async def get_tree_single(kernel: KernelCore, fc: StructView, fill_super: int) -> int:
    """The one instance of a file system (fs/super.c)."""
    return await _get_super(kernel, fc, fill_super, single=True)


@export(
    "int get_tree_nodev(struct fs_context *fc,"
    " int (*fill_super)(struct super_block *sb, struct fs_context *fc))"
)
async def get_tree_nodev(kernel: KernelCore, fc: StructView, fill_super: int) -> int:
    """An instance of its own (fs/super.c)."""
    return await _get_super(kernel, fc, fill_super, single=False)


@export("void kill_anon_super(struct super_block *sb)", Fidelity.APPROXIMATE)
async def kill_anon_super(kernel: KernelCore, sb: StructView) -> None:
    """Names, inodes, then what the file system itself has go (fs/super.c)."""
    root, sb.s_root = sb.s_root, 0
    if root:
        await dcache.shrink_dcache_parent(kernel, root)
        dcache.d_drop(kernel, root)
        await dcache.dput(kernel, root)
        if sb.s_op and (put_super := kernel.view("super_operations", sb.s_op).put_super):
            await kernel.call_guest(put_super, sb.address)
    kernel[Mounts].supers.pop(sb.address, None)


@export("void kill_litter_super(struct super_block *sb)", Fidelity.APPROXIMATE)
async def kill_litter_super(kernel: KernelCore, sb: StructView) -> None:
    """The same where names stay by a reference of their own (fs/super.c)."""
    if sb.s_root:
        dcache.genocide(kernel, sb.s_root)
    await kill_anon_super(kernel, sb)


@export("void mntput(struct vfsmount *mnt)")
async def mntput(kernel: KernelCore, mnt: StructView) -> None:
    """One reference fewer; the last unmounts it (fs/namespace.c)."""
    references = kernel[Mounts].references
    if not mnt.address:
        return
    references[mnt.address] -= 1
    if not references[mnt.address]:
        del references[mnt.address]
        await dcache.dput(kernel, mnt.mnt_root)
        await _deactivate_super(kernel, kernel.view("super_block", mnt.mnt_sb))
        kernel.heap.kfree(mnt.address)


@export("int simple_pin_fs(struct file_system_type *type, struct vfsmount **mount, int *count)")
async def simple_pin_fs(kernel: KernelCore, type: StructView, mount: int, count: int) -> int:
    """It is mounted while somebody counts on it (fs/libfs.c)."""
    memory = kernel.memory
    held = memory.read_u64(mount)
    if held:
        kernel[Mounts].references[held] += 1
    else:
        memory.write_u64(mount, await vfs_kern_mount(kernel, type))
    memory.write_u32(count, memory.read_u32(count) + 1)
    return 0


@export("void simple_release_fs(struct vfsmount **mount, int *count)")
async def simple_release_fs(kernel: KernelCore, mount: int, count: int) -> None:
    """One fewer; the last unmounts it (fs/libfs.c)."""
    memory = kernel.memory
    held, left = memory.read_u64(mount), memory.read_u32(count) - 1 & 0xFFFF_FFFF
    memory.write_u32(count, left)
    if not left:
        memory.write_u64(mount, 0)
    await mntput(kernel, kernel.view("vfsmount", held))


@export("int simple_rmdir(struct inode *dir, struct dentry *dentry)")
async def simple_rmdir(kernel: KernelCore, dir: StructView, dentry: StructView) -> int:
    """An empty directory goes (fs/libfs.c)."""
    if not dcache.is_empty(kernel, dentry.address):
        return -errno.ENOTEMPTY
    kernel.view("inode", dentry.d_inode).i_nlink -= 2
    await dcache.dput(kernel, dentry.address)
    dir.i_nlink -= 1
    return 0
