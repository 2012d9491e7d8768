"""Directories of the host on the real kernel, alive and read-only: a file system that Python serves.

Names, links and pages are asked for when somebody wants them, and kept in the kernel's caches. Links are
followed inside the machine, so none leads out; what is no file, directory or link does not show.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.hostfs import MAGIC, SHOWN, checked
from kmod_emu.kernel.exports import Fidelity, Handler
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno
from kmod_emu.vmlinux.hardware.ask import ask, made

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kmod_emu.vmlinux.kernel import VmlinuxKernel

NAME = "hostfs"
_BLOCK_BITS = 12
_MS_RDONLY = 1
_KIND_SHIFT = 12  # from a file's mode to its kind as readdir(3) tells it
_DEEPEST = 256
_DOTS = (".", "..")


class HostFs:
    """The file system, and what of the host it shows."""

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self._roots: dict[int, Path] = {}  # by what is in s_fs_info: a root that is not here shows nothing
        self._tables: dict[str, int] = {}  # addresses; empty: it is not registered
        self._methods = {
            function.__name__: kernel.traps.bind(
                Handler(f"hostfs_{function.__name__}", prototype, function, Fidelity.EXACT)
            )
            for prototype, function in _METHODS
        }

    def show(self, root: Path, path: str) -> None:
        """Mount a directory of the host at a directory of the machine.

        Raises:
            KernelError: What mount(2) can fail with.
        """
        kernel = self._kernel
        self._register()
        root = root.resolve()
        self._roots[_number(str(root))] = root
        with kernel.process(comm="mount") as process:
            source, target, kind = (
                process.put(os.fsencode(text) + b"\0") for text in (str(root), path, NAME)
            )
            process.enter("mount", source, target, kind, _MS_RDONLY, 0)

    def _register(self) -> None:
        if self._tables:
            return
        kernel = self._kernel
        for name, (struct, members) in _TABLES.items():
            view = made(kernel, struct)
            for member, what in members.items():
                found = next(filter(None, map(self._address, what.split())), 0)
                if found and view.has(member):
                    view.set(member, found)
            self._tables[name] = view.address
        kind = made(kernel, "file_system_type", len(NAME) + 1)
        text = kind.address + kernel.profile.struct("file_system_type").size
        kernel.memory.write(text, NAME.encode() + b"\0")
        kind.set("name", text)
        kind.set("init_fs_context", self._methods["init_fs_context"])
        kind.set("kill_sb", kernel.symbol("kill_anon_super"))
        ask(kernel, "register_filesystem", kind.address, what=f"the file system {NAME}")

    def _address(self, name: str) -> int:
        if name in self._methods:
            return self._methods[name]
        return self._kernel.symbol(name) if self._kernel.symbols.internal(name) else 0

    def shows(self, path: str) -> bool:
        """Whether somebody chose to show it."""
        return _number(path) in self._roots

    def table(self, name: str) -> int:
        """The address of a table of operations."""
        return self._tables[name]

    def method(self, name: str) -> int:
        """The address of a method."""
        return self._methods[name]

    def place(self, dentry: int, *below: str) -> str:
        """The host's path of something.

        Raises:
            KernelError: EIO, nothing is shown there any more.
        """
        kernel, names = self._kernel, list(below)
        view = kernel.view("dentry", dentry)
        number = kernel.view("super_block", view.d_sb).s_fs_info
        for _ in range(_DEEPEST):
            if view.d_parent == view.address:
                break
            name = kernel.view("qstr", view.addressof("d_name")).get("name")
            names.insert(0, os.fsdecode(kernel.memory.read_cstring(name)))
            view = kernel.view("dentry", view.d_parent)
        root = self._roots.get(number)
        if root is None or any("/" in name or name in _DOTS for name in names):
            raise KernelError(errno.EIO, "the host's directory is not shown any more")
        return os.path.join(root, *names)

    async def make_inode(self, sb: int, facts: os.stat_result) -> int:
        """An inode for a file of the host.

        Raises:
            KernelError: ENOMEM.
        """
        kernel, kind = self._kernel, stat.S_IFMT(facts.st_mode)
        address = await kernel.call_guest(kernel.symbol("new_inode"), sb)
        if not address:
            raise KernelError(errno.ENOMEM)
        inode, mine = kernel.view("inode", address), facts.st_uid == os.geteuid()
        inode.i_mode, inode.i_ino, inode.i_size = facts.st_mode, facts.st_ino, facts.st_size
        for member, owner in (("i_uid", facts.st_uid), ("i_gid", facts.st_gid)):
            kernel.memory.write_u32(inode.addressof(member), 0 if mine else owner)
        kernel.memory.write_u32(inode.addressof("i_nlink"), facts.st_nlink)
        inode.i_blocks = facts.st_blocks
        for letter in "amc":
            names = (f"i_{letter}time_sec", f"__i_{letter}time", f"i_{letter}time")
            seconds = inode.addressof(next(name for name in names if inode.has(name)))
            kernel.memory.write_u64(seconds, int(getattr(facts, f"st_{letter}time")))
        inode.i_op = self._tables[f"inode {kind:o}"]
        if kind != stat.S_IFLNK:
            inode.i_fop = self._tables[f"file {kind:o}"]
        kernel.view("address_space", inode.i_mapping).a_ops = self._tables["pages"]
        return address

    def save(self) -> Any:
        """State for a snapshot or file: nothing of the host."""
        return self._tables

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._tables = dict(state)


def _number(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=8).digest(), "little")


def _facts(path: str) -> os.stat_result | None:
    """What is to know of a file; None if it does not show."""
    try:
        facts = os.lstat(path)
    except (OSError, ValueError):
        return None
    return facts if stat.S_IFMT(facts.st_mode) in SHOWN else None


# --- methods ----------------------------------------------------------------------------------------


def init_fs_context(kernel: VmlinuxKernel, fc: int) -> int:
    """mount(2) begins."""
    kernel.view("fs_context", fc).ops = kernel.hostfs.table("context")
    return 0


async def get_tree(kernel: VmlinuxKernel, fc: int) -> int:
    """Each mount is a file system of its own."""
    fill = kernel.hostfs.method("fill_super")
    return await kernel.call_guest_int(kernel.symbol("get_tree_nodev"), fc, fill)


async def fill_super(kernel: VmlinuxKernel, sb: int, fc: int) -> int:
    """The root, if somebody chose to show it."""
    source = kernel.view("fs_context", fc).source
    path = os.fsdecode(kernel.memory.read_cstring(source)) if source else ""
    facts, view = _facts(path), kernel.view("super_block", sb)
    view.s_fs_info = _number(path)
    if facts is None or not kernel.hostfs.shows(path):
        raise KernelError(errno.ENOENT, f"{path} of the host is not shown")
    view.s_magic, view.s_op = MAGIC, kernel.hostfs.table("super")
    view.s_blocksize, view.s_blocksize_bits = 1 << _BLOCK_BITS, _BLOCK_BITS
    inode = await kernel.hostfs.make_inode(sb, facts)
    view.s_root = await kernel.call_guest(kernel.symbol("d_make_root"), inode)
    return 0 if view.s_root else -errno.ENOMEM


async def lookup(kernel: VmlinuxKernel, dir: int, dentry: int, flags: int) -> int:
    """A name that the kernel does not know yet."""
    facts = _facts(kernel.hostfs.place(dentry))
    sb = kernel.view("dentry", dentry).d_sb
    inode = await kernel.hostfs.make_inode(sb, facts) if facts else 0
    return await kernel.call_guest(kernel.symbol("d_splice_alias"), inode, dentry)


async def get_link(kernel: VmlinuxKernel, dentry: int, inode: int, done: int) -> int:
    """Where a symbolic link leads, in memory that the caller frees."""
    if not dentry:
        raise KernelError(errno.ECHILD, "not while others may change it")
    place = kernel.hostfs.place(dentry)
    target = os.fsencode(checked(lambda: os.readlink(place))) + b"\0"
    text = kernel.heap.kmalloc(len(target))
    kernel.memory.write(text, target)
    call = kernel.view("delayed_call", done)
    call.fn, call.arg = kernel.symbol("kfree_link"), text
    return text


async def iterate_shared(kernel: VmlinuxKernel, file: int, ctx: int) -> int:
    """What is in a directory, from where the reader is."""
    path = kernel.hostfs.place(_dentry(kernel, file))
    context = kernel.view("dir_context", ctx)
    told = kernel.types is not None and (kernel.types.prototype("filldir64") or "").startswith("bool")
    names = [*_DOTS, *sorted(checked(lambda: os.listdir(path)))]
    text = kernel.heap.kmalloc(PAGE_SIZE)
    try:
        for index in range(context.pos, len(names)):
            facts, raw = _facts(os.path.join(path, names[index])), os.fsencode(names[index])
            if facts is not None:
                kernel.memory.write(text, raw + b"\0")
                kind = facts.st_mode >> _KIND_SHIFT
                answer = await kernel.call_guest_int(
                    context.actor, ctx, text, len(raw), index, facts.st_ino, kind
                )
                if bool(answer & 0xFF) is not told:  # true means to go on, where it is no error
                    break
            context.pos = index + 1
    finally:
        kernel.heap.kfree(text)
    return 0


async def read_folio(kernel: VmlinuxKernel, file: int, folio: int) -> int:
    """A page that the kernel does not have yet."""
    view = kernel.view("folio" if kernel.profile.has("folio.index") else "page", folio)
    try:
        data = _read(kernel.hostfs.place(_dentry(kernel, file)), view.index << _BLOCK_BITS)
        kernel.memory.write(page_to_virt(folio), data.ljust(PAGE_SIZE, b"\0"))
        failed = 0
    except OSError:
        failed = -errno.EIO
    if kernel.symbols.internal("folio_end_read"):
        await kernel.call_guest(kernel.symbol("folio_end_read"), folio, not failed)
    else:
        await kernel.call_guest(kernel.symbol("page_endio"), folio, 0, failed)
    return failed


def _read(path: str, offset: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.pread(fd, PAGE_SIZE, offset)
    finally:
        os.close(fd)


def _dentry(kernel: VmlinuxKernel, file: int) -> int:
    return kernel.view("path", kernel.view("file", file).addressof("f_path")).dentry


_METHODS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("int hostfs_init_fs_context(struct fs_context *fc)", init_fs_context),
    ("int hostfs_get_tree(struct fs_context *fc)", get_tree),
    ("int hostfs_fill_super(struct super_block *sb, struct fs_context *fc)", fill_super),
    ("void *hostfs_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)", lookup),
    ("void *hostfs_get_link(struct dentry *dentry, struct inode *inode, void *done)", get_link),
    ("int hostfs_iterate_shared(struct file *file, void *ctx)", iterate_shared),
    ("int hostfs_read_folio(struct file *file, void *folio)", read_folio),
)
# Tables of operations: structure, and what is in its members, the first of the names that this kernel has.
_TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "context": ("fs_context_operations", {"get_tree": "get_tree"}),
    "super": (
        "super_operations",
        {"statfs": "simple_statfs", "drop_inode": "inode_just_drop generic_delete_inode"},
    ),
    f"inode {stat.S_IFDIR:o}": ("inode_operations", {"lookup": "lookup"}),
    f"inode {stat.S_IFREG:o}": ("inode_operations", {}),
    f"inode {stat.S_IFLNK:o}": ("inode_operations", {"get_link": "get_link"}),
    f"file {stat.S_IFDIR:o}": (
        "file_operations",
        {"iterate_shared": "iterate_shared", "read": "generic_read_dir", "llseek": "default_llseek"},
    ),
    f"file {stat.S_IFREG:o}": (
        "file_operations",
        {
            "read_iter": "generic_file_read_iter",
            "llseek": "generic_file_llseek",
            "mmap": "generic_file_readonly_mmap",
            "splice_read": "filemap_splice_read generic_file_splice_read",
        },
    ),
    "pages": ("address_space_operations", {"read_folio": "read_folio", "readpage": "read_folio"}),
}
