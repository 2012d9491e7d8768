"""Files that guest code sees: `struct file`, `struct inode`, `struct dentry` in guest memory.

Modules read and write them (`file->private_data`, `f_pos`, `f_flags`, `iminor(inode)`), so for these files
guest memory is where the truth is, and the attributes of `GuestFile` are views on it. `GuestOperations` calls
what the file's `f_op` points to at that moment.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.fs.file import File, FileOperations, Position
from kmod_emu.kernel.activation import GuestCall, to_long
from kmod_emu.kernel.cred import put_cred
from kmod_emu.kernel.iov_iter import IOVEC_SIZE, ITER_DEST, ITER_SOURCE, IovIter
from kmod_emu.kernel.locking import init_lock
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_ACCMODE, O_APPEND, O_DIRECT, O_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.fs.inode import Dentry, Inode, SuperBlock
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

_U32, _S64 = struct.Struct("<I"), struct.Struct("<q")
_IOCB_APPEND, _IOCB_DIRECT = 0x10, 0x2_0000
_FRAME = 64  # bytes at the top of the stack for what a system call hands to guest code by reference
_NAMES = {"ioctl": ("unlocked_ioctl",), "read": ("read", "read_iter"), "write": ("write", "write_iter"),
          "entries": ("iterate_shared", "iterate")}  # fmt: skip


class GuestFile(File):
    """An open file whose `struct file` lies in guest memory."""

    def __init__(self, kernel: KernelCore, dentry: Dentry, flags: int) -> None:
        address = kernel.heap.kmalloc(kernel.profile.struct("file").size)
        if not address:
            raise KernelError(errno.ENOMEM)
        self._be_at(kernel, address, dentry)
        view = kernel.view("file", self.address)
        view.f_inode = guest_inode(kernel, self.inode)
        path = view.addressof("f_path")
        kernel.memory.write_u64(path + 8, guest_dentry(kernel, dentry))
        kernel.memory.write_u64(path, guest_mount(kernel, self.inode.sb))
        view.f_mapping = kernel.view("inode", self.inode.address).i_mapping
        task = kernel.sched.current
        view.f_cred = kernel.view("task_struct", task.address).cred
        kernel.view("cred", view.f_cred).usage += 1
        if view.has("f_pos_lock"):
            init_lock(kernel, "mutex", view.addressof("f_pos_lock"))
        self.flags = flags
        self.mode = 0x4000 if flags & O_PATH else (flags & O_ACCMODE) + 1 & 3
        self.count = 1

    def _be_at(self, kernel: KernelCore, address: int, dentry: Dentry) -> None:
        self.kernel, self.address, self.dentry, self.inode = kernel, address, dentry, dentry.inode
        layout, arena = kernel.profile.struct("file"), kernel.memory.arena_of(address)
        start = address - arena.base
        self._bytes = arena.view[start : start + layout.size]  # to look at; writing goes through `memory`
        offset = layout.offset
        self._flags, self._mode = offset("f_flags"), offset("f_mode")
        self._pos, self._count = offset("f_pos"), offset("f_count")
        self.op: FileOperations = self.inode.fop  # until its open puts GuestOperations in place
        self.private: object = None

    @classmethod
    def at(cls, kernel: KernelCore, address: int, dentry: Dentry) -> GuestFile:
        """The open file that a `struct file` in guest memory is."""
        file = cls.__new__(cls)
        file._be_at(kernel, address, dentry)
        return file

    @property
    def flags(self) -> int:
        """f_flags."""
        return int(_U32.unpack_from(self._bytes, self._flags)[0])

    @flags.setter
    def flags(self, value: int) -> None:
        self.kernel.memory.write_u32(self.address + self._flags, value)

    @property
    def mode(self) -> int:
        """f_mode."""
        return int(_U32.unpack_from(self._bytes, self._mode)[0])

    @mode.setter
    def mode(self, value: int) -> None:
        self.kernel.memory.write_u32(self.address + self._mode, value)

    @property
    def pos(self) -> int:
        """f_pos."""
        return int(_S64.unpack_from(self._bytes, self._pos)[0])

    @pos.setter
    def pos(self, value: int) -> None:
        self.kernel.memory.write_u64(self.address + self._pos, value & (1 << 64) - 1)

    @property
    def count(self) -> int:
        """f_count."""
        return self.kernel.memory.read_u64(self.address + self._count)

    @count.setter
    def count(self, value: int) -> None:
        self.kernel.memory.write_u64(self.address + self._count, value)

    @property
    def fops(self) -> int:
        """f_op: address of the `struct file_operations`."""
        return self.kernel.view("file", self.address).f_op

    @fops.setter
    def fops(self, value: int) -> None:
        self.kernel.view("file", self.address).f_op = value

    def free(self) -> None:
        """Give the struct back."""
        put_cred(self.kernel, self.kernel.view("file", self.address).f_cred)
        self.kernel.heap.kfree(self.address)


class GuestOperations(FileOperations):
    """The functions that a file's `f_op` points to."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self._offsets = kernel.profile.struct("file_operations").members
        self._f_op = kernel.profile.offset("file", "f_op")

    def method(self, file: File, name: str) -> int:
        """Address of a method, 0 for none."""
        memory, member = self.kernel.memory, self._offsets.get(name)
        fops = memory.read_u64(file.address + self._f_op)
        return memory.read_u64(fops + member.offset) if fops and member is not None else 0

    def can(self, file: File, method: str) -> bool:
        """Whether the module gave one."""
        return any(self.method(file, name) for name in _NAMES.get(method, (method,)))

    async def _call(self, file: File, name: str, *arguments: int) -> int:
        return await self.kernel.call_guest_int(self.method(file, name), *arguments)

    async def open(self, file: File) -> int:
        """Its `open`, if it has one."""
        if not self.method(file, "open"):
            return 0
        return await self._call(file, "open", file.inode.address, file.address)

    async def flush(self, file: File) -> int:
        """Its `flush`, if it has one; the owner is the caller's table of descriptors."""
        if not self.method(file, "flush"):
            return 0
        task = self.kernel.view("task_struct", self.kernel.sched.current.address)
        return await self._call(file, "flush", file.address, task.files if task.has("files") else 0)

    async def release(self, file: File) -> None:
        """Its `release`, if it has one; what that returns is ignored."""
        if self.method(file, "release"):
            await self._call(file, "release", file.inode.address, file.address)

    async def read(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Its `read`."""
        return await self._transfer(file, "read", buf, count, pos)

    async def write(self, file: File, buf: int, count: int, pos: Position) -> int:
        """Its `write`."""
        return await self._transfer(file, "write", buf, count, pos)

    async def _transfer(self, file: File, name: str, buf: int, count: int, pos: Position) -> int:
        method = self.method(file, name)
        if not method:
            return await self._iterate(file, f"{name}_iter", [(buf, count)], pos)
        place = lend(self.kernel, pos)
        value = await GuestCall(method, file.address, buf, count, place)
        take_back(self.kernel, pos, place)
        return to_long(value)

    async def read_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """Its `read_iter`."""
        return await self._iterate(file, "read_iter", pieces, pos)

    async def write_iter(self, file: File, pieces: list[tuple[int, int]], pos: Position) -> int:
        """Its `write_iter`."""
        return await self._iterate(file, "write_iter", pieces, pos)

    async def _iterate(self, file: File, name: str, pieces: list[tuple[int, int]], pos: Position) -> int:
        source = ITER_SOURCE if name == "write_iter" else ITER_DEST
        return await iterate(self.kernel, self.method(file, name), file, source, pieces, pos)

    async def llseek(self, file: File, offset: int, whence: int) -> int:
        """Its `llseek`."""
        method = self.method(file, "llseek")
        return to_long(await self.kernel.call_guest(method, file.address, offset, whence))

    async def ioctl(self, file: File, cmd: int, arg: int) -> int:
        """Its `unlocked_ioctl`."""
        return await self._call(file, "unlocked_ioctl", file.address, cmd, arg)

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """Its `poll`."""
        return await self._call(file, "poll", file.address, table.guest(events)) & 0xFFFF_FFFF

    async def mmap(self, file: File, vma: int) -> int:
        """Its `mmap`."""
        return await self._call(file, "mmap", file.address, vma)

    async def fsync(self, file: File, start: int, end: int, datasync: int) -> int:
        """Its `fsync`."""
        return await self._call(file, "fsync", file.address, start, end, datasync)

    async def fasync(self, file: File, fd: int, on: int) -> int:
        """Its `fasync`."""
        return await self._call(file, "fasync", fd, file.address, on)


async def iterate(
    kernel: KernelCore, method: int, file: File, source: int, pieces: list[tuple[int, int]], pos: Position
) -> int:
    """Call a read_iter or write_iter (fs/read_write.c: do_iter_readv_writev)."""
    kiocb, iterator = (kernel.profile.struct(name).size for name in ("kiocb", "iov_iter"))
    place = kernel.heap.kmalloc(kiocb + iterator + len(pieces) * IOVEC_SIZE)
    if not place:
        raise KernelError(errno.ENOMEM)
    view = kernel.view("kiocb", place)
    view.ki_filp, view.ki_pos = file.address, pos.value
    append, direct = file.flags & O_APPEND, file.flags & O_DIRECT
    view.ki_flags = (_IOCB_APPEND if append else 0) | (_IOCB_DIRECT if direct else 0)
    IovIter(kernel, place + kiocb).init_user(source, pieces, place + kiocb + iterator)
    result = to_long(await kernel.call_guest(method, place, place + kiocb))
    pos.value = view.signed("ki_pos")
    kernel.heap.kfree(place)
    return result


def lend(kernel: KernelCore, pos: Position) -> int:
    """The address of a position in guest memory: a local variable of the system call, where that may be."""
    task, place = kernel.sched.current, pos.address
    if not place and len(task.activations) == 1:
        place, bottom = task.stack_top - _FRAME, task.activations[0]
        bottom.rsp = min(bottom.rsp, place)
    elif not place:
        place = kernel.heap.kmalloc(8)
    kernel.memory.write_u64(place, pos.value)
    return place


def take_back(kernel: KernelCore, pos: Position, place: int) -> None:
    """What guest code left there is the new position."""
    pos.value = to_long(kernel.memory.read_u64(place))
    if not pos.address and place in kernel.heap.live:
        kernel.heap.kfree(place)


@contextmanager
def by_reference(kernel: KernelCore, pos: Position) -> Iterator[int]:
    """Both, around a call."""
    place = lend(kernel, pos)
    yield place
    take_back(kernel, pos, place)


# --- inodes, dentries and mounts ------------------------------------------------------------------------


def guest_inode(kernel: KernelCore, inode: Inode) -> int:
    """Address of the inode's `struct inode`, made when first asked for."""
    if inode.address:
        return inode.address
    address = inode.address = kernel.heap.kmalloc(kernel.profile.struct("inode").size)
    view = init_inode(kernel, address, guest_super_block(kernel, inode.sb))
    view.i_ino, view.i_rdev, view.i_blkbits = inode.ino, inode.rdev, 12
    update_inode(kernel, inode)
    return inode.address


def init_inode(kernel: KernelCore, address: int, sb: int) -> StructView:
    """inode_init_always(): what every inode begins with."""
    view = kernel.view("inode", address)
    view.i_sb, view.i_count = sb, 1
    view.i_mapping = view.addressof("i_data")
    kernel.memory.write_u64(view.i_mapping, address)  # address_space.host comes first
    for head in ("i_devices", "i_lru", "i_sb_list"):
        if view.has(head):
            lists.init(kernel.memory, view.addressof(head))
    if view.has("i_rwsem"):
        init_lock(kernel, "rw_semaphore", view.addressof("i_rwsem"))
    return view


def update_inode(kernel: KernelCore, inode: Inode) -> None:
    """Python changed the inode: bring the struct up to date."""
    if not inode.address:
        return
    view = kernel.view("inode", inode.address)
    view.i_mode, view.i_uid, view.i_gid = inode.mode, inode.uid, inode.gid
    view.i_nlink, view.i_size = inode.nlink, inode.size


def make_dentry(kernel: KernelCore, name: bytes) -> StructView:
    """A `struct dentry` with a name, which lies outside of it if it is long."""
    view = kernel.view("dentry", kernel.heap.kmalloc(kernel.profile.struct("dentry").size))
    inline = view.layout.members["d_iname"]
    place = view.address + inline.offset
    if len(name) >= inline.size:
        place = kernel.heap.kmalloc(len(name) + 1)
    kernel.memory.write(place, name + b"\0")
    kernel.memory.write(view.addressof("d_name"), struct.pack("<IIQ", 0, len(name), place))
    return view


def guest_dentry(kernel: KernelCore, dentry: Dentry) -> int:
    """Address of the dentry's `struct dentry`, made when first asked for."""
    if dentry.address:
        return dentry.address
    view = make_dentry(kernel, (dentry.name or "/").encode("utf-8", "surrogateescape"))
    dentry.address = view.address
    view.d_inode, view.d_sb = guest_inode(kernel, dentry.inode), guest_super_block(kernel, dentry.inode.sb)
    for head in ("d_child", "d_subdirs"):
        if view.has(head):
            lists.init(kernel.memory, view.addressof(head))
    view.d_parent = guest_dentry(kernel, dentry.parent)
    return dentry.address


def guest_super_block(kernel: KernelCore, sb: SuperBlock) -> int:
    """Address of the `struct super_block`."""
    if not sb.address:
        view = kernel.view("super_block", kernel.heap.kmalloc(kernel.profile.struct("super_block").size))
        sb.address = view.address
        view.s_dev, view.s_magic, view.s_blocksize, view.s_blocksize_bits = sb.dev, sb.magic, 4096, 12
        view.s_maxbytes = (1 << 63) - 1
        view.set_bytes("s_id", sb.kind.encode()[:31])
        view.s_root = guest_dentry(kernel, sb.root)
    return sb.address


def guest_mount(kernel: KernelCore, sb: SuperBlock) -> int:
    """Address of the `struct vfsmount` it is mounted by."""
    if not sb.mount_address:
        view = kernel.view("vfsmount", kernel.heap.kmalloc(kernel.profile.struct("vfsmount").size))
        sb.mount_address = view.address
        view.mnt_sb, view.mnt_root = guest_super_block(kernel, sb), guest_dentry(kernel, sb.root)
    return sb.mount_address


def forget(kernel: KernelCore, thing: Any) -> None:
    """Give back the struct of an inode or dentry that nobody can reach any more."""
    if thing.address:
        kernel.heap.kfree(thing.address)
        thing.address = 0
