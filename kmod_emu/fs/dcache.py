"""Dentries of file systems that modules bring: they lie in guest memory, and nowhere else (fs/dcache.c).

There is no hash table: what is hashed points to itself, and a name is looked for among its parent's children.
A name that nobody uses stays until its file system goes, as in Linux while memory is not short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.fs.guest_file import make_dentry
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_GENOCIDE = 0x200  # DCACHE_GENOCIDE
_ENTRY_TYPE, _SPECIAL = 0x70_0000, 0x50_0000  # DCACHE_ENTRY_TYPE, DCACHE_SPECIAL_TYPE
_TYPES = {S_IFDIR: 0x20_0000, S_IFREG: 0x40_0000, S_IFLNK: 0x60_0000}
_OPERATIONS = {"d_hash": 1, "d_compare": 2, "d_revalidate": 4, "d_weak_revalidate": 0x800, "d_delete": 8,
               "d_prune": 0x10, "d_real": 0x400_0000}  # fmt: skip


def _view(kernel: KernelCore, dentry: int) -> StructView:
    return kernel.view("dentry", dentry)


def _count(kernel: KernelCore, dentry: int) -> int:
    """Where a dentry's references are counted."""
    return _view(kernel, dentry).addressof("d_lockref") + kernel.profile.offset("lockref", "count")


def dget(kernel: KernelCore, dentry: int, by: int = 1) -> int:
    """One more reference, or fewer; how many there are."""
    where = _count(kernel, dentry)
    count = kernel.memory.read_u32(where) + by
    kernel.memory.write_u32(where, count & 0xFFFF_FFFF)
    return count


def d_alloc(kernel: KernelCore, parent: int, name: bytes, sb: int) -> int:
    """A name without an inode; without a parent, it is a root."""
    dentry = make_dentry(kernel, name)
    for head in ("d_lru", "d_subdirs", "d_child"):
        lists.init(kernel.memory, dentry.addressof(head))
    dentry.d_sb, dentry.d_parent = sb, parent or dentry.address
    dget(kernel, dentry.address)
    if parent:
        dget(kernel, parent)
        lists.add(kernel.memory, dentry.addressof("d_child"), _view(kernel, parent).addressof("d_subdirs"))
    operations = dentry.d_op = kernel.view("super_block", sb).s_d_op
    if operations:
        table = kernel.view("dentry_operations", operations)
        dentry.d_flags = sum(flag for method, flag in _OPERATIONS.items() if table.get(method))
    return dentry.address


def _children(kernel: KernelCore, dentry: int) -> Iterator[int]:
    child = kernel.profile.offset("dentry", "d_child")
    for entry in list(lists.walk(kernel.memory, _view(kernel, dentry).addressof("d_subdirs"))):
        yield entry - child


def is_empty(kernel: KernelCore, directory: int) -> bool:
    """simple_empty(): whether no file is in it."""
    return not any(_view(kernel, child).d_inode for child in _children(kernel, directory))


def _hashed(kernel: KernelCore, dentry: int) -> int:
    """Where d_hash.pprev is: not NULL in what can be found by its name."""
    return _view(kernel, dentry).addressof("d_hash") + 8


def _drop(kernel: KernelCore, dentry: int) -> None:
    kernel.memory.write_u64(_hashed(kernel, dentry), 0)


async def _call(kernel: KernelCore, dentry: int, method: str, *arguments: int) -> int | None:
    """What a method answers, None if there is none."""
    operations = _view(kernel, dentry).d_op
    function = kernel.view("dentry_operations", operations).get(method) if operations else 0
    return await kernel.call_guest_int(function, dentry, *arguments) if function else None


async def _unlink_inode(kernel: KernelCore, dentry: int) -> None:
    """dentry_unlink_inode(): it is negative from now on."""
    view = _view(kernel, dentry)
    inode, view.d_inode = view.d_inode, 0
    view.d_flags &= ~_ENTRY_TYPE
    lists.hlist_delete(kernel.memory, view.addressof("d_u"))
    if await _call(kernel, dentry, "d_iput", inode) is None:
        await kernel.call_guest(kernel.symbol("iput"), inode)


async def dentry_kill(kernel: KernelCore, dentry: int) -> int:
    """It goes; its parent, 0 for none."""
    view = _view(kernel, dentry)
    await _call(kernel, dentry, "d_prune")
    _drop(kernel, dentry)
    parent = view.d_parent if view.d_parent != dentry else 0
    if parent:
        lists.delete(kernel.memory, view.addressof("d_child"))
    if view.d_inode:
        await _unlink_inode(kernel, dentry)
    await _call(kernel, dentry, "d_release")
    name = kernel.memory.read_u64(view.addressof("d_name") + 8)
    if name != view.addressof("d_iname"):
        kernel.heap.kfree(name)
    kernel.heap.kfree(dentry)
    return parent


async def shrink_dcache_parent(kernel: KernelCore, dentry: int) -> None:
    """Everything below it that nobody uses goes."""
    for child in _children(kernel, dentry):
        await shrink_dcache_parent(kernel, child)
        if not dget(kernel, child, 0):
            await dentry_kill(kernel, child)
            dget(kernel, dentry, -1)


@export("struct dentry *d_alloc_name(struct dentry *parent, const char *name)", Fidelity.APPROXIMATE)
def d_alloc_name(kernel: KernelCore, parent: StructView, name: bytes) -> int:
    """A name in a directory, without an inode (fs/dcache.c)."""
    return d_alloc(kernel, parent.address, name, parent.d_sb)


@export("struct dentry *d_make_root(struct inode *root_inode)")
async def d_make_root(kernel: KernelCore, root_inode: int) -> int:
    """The root's name, whose inode is the caller's no longer (fs/dcache.c)."""
    if not root_inode:
        return 0
    root = d_alloc(kernel, 0, b"/", kernel.view("inode", root_inode).i_sb)
    d_instantiate(kernel, root, root_inode)
    return root


@export("void d_instantiate(struct dentry *entry, struct inode *inode)")
def d_instantiate(kernel: KernelCore, entry: int, inode: int) -> None:
    """A name gets its inode (fs/dcache.c)."""
    if inode:
        view, file = _view(kernel, entry), kernel.view("inode", inode)
        lists.hlist_add_head(kernel.memory, view.addressof("d_u"), file.addressof("i_dentry"))
        view.d_flags |= _TYPES.get(file.i_mode & S_IFMT, _SPECIAL)
        view.d_inode = inode


@export("void d_rehash(struct dentry *entry)")
def d_rehash(kernel: KernelCore, entry: int) -> None:
    """It can be found by its name (fs/dcache.c)."""
    kernel.memory.write_u64(_hashed(kernel, entry), _hashed(kernel, entry))


@export("void d_add(struct dentry *entry, struct inode *inode)")
def d_add(kernel: KernelCore, entry: int, inode: int) -> None:
    """Both (fs/dcache.c)."""
    d_instantiate(kernel, entry, inode)
    d_rehash(kernel, entry)


@export("void __d_drop(struct dentry *dentry)")
def __d_drop(kernel: KernelCore, dentry: int) -> None:
    """It cannot be found by its name any more (fs/dcache.c)."""
    _drop(kernel, dentry)


@export("void d_drop(struct dentry *dentry)")
def d_drop(kernel: KernelCore, dentry: int) -> None:
    """It cannot be found by its name any more (fs/dcache.c)."""
    _drop(kernel, dentry)


@export("void d_delete(struct dentry *dentry)")
async def d_delete(kernel: KernelCore, dentry: int) -> None:
    """The file behind a name was removed: it has none from now on, or cannot be found (fs/dcache.c)."""
    if dget(kernel, dentry, 0) == 1:
        await _unlink_inode(kernel, dentry)
    else:
        _drop(kernel, dentry)


@export("int always_delete_dentry(const struct dentry *dentry)")
def always_delete_dentry(kernel: KernelCore, dentry: int) -> int:
    """A d_delete method: names that nobody uses are not kept (fs/libfs.c)."""
    return 1


@export("void dput(struct dentry *dentry)")
async def dput(kernel: KernelCore, dentry: int) -> None:
    """One reference fewer; of what cannot be found or is not to be kept, the last takes it away."""
    while dentry and not dget(kernel, dentry, -1):
        hashed = kernel.memory.read_u64(_hashed(kernel, dentry))
        if hashed and not await _call(kernel, dentry, "d_delete"):
            return
        dentry = await dentry_kill(kernel, dentry)


@export("void lockref_get(struct lockref *lockref)")
def lockref_get(kernel: KernelCore, lockref: StructView) -> None:
    """One more (lib/lockref.c)."""
    count = lockref.addressof("count")
    kernel.memory.write_u32(count, kernel.memory.read_u32(count) + 1 & 0xFFFF_FFFF)


def genocide(kernel: KernelCore, root: int) -> None:
    """d_genocide(): drop the reference that being there is, of all that is below."""
    for child in _children(kernel, root):
        view = _view(kernel, child)
        if kernel.memory.read_u64(_hashed(kernel, child)) and view.d_inode:
            genocide(kernel, child)
            if not view.d_flags & _GENOCIDE:
                view.d_flags |= _GENOCIDE
                dget(kernel, child, -1)
