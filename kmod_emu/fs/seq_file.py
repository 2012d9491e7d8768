"""Sequential files: a driver's records, one by one, through a buffer that grows (fs/seq_file.c).

`struct seq_file` lies in guest memory by the release's layout: drivers read and write it. `start`, `next`,
`show` and `stop` are the module's own functions; here is the walk over them, line for line as the kernel's,
because drivers see in which order and how often they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.iov_iter import IovIter
from kmod_emu.kernel.locking import __mutex_init, mutex_lock, mutex_unlock
from kmod_emu.kernel.slab import kvfree
from kmod_emu.machine.memory import PAGE_SIZE
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

SEQ_START_TOKEN = 1
FMODE_PWRITE = 0x10
SEEK_SET, SEEK_CUR = 0, 1
_ERR_PTR = (1 << 64) - 4095  # from here on a pointer is a negative errno


class _TooSmall(Exception):
    """The buffer had to be doubled: start again."""


class SeqFile:
    """One open sequential file: its struct and the operations behind it."""

    def __init__(self, kernel: KernelCore, address: int) -> None:
        self._kernel = kernel
        self.view = kernel.view("seq_file", address)
        self._ops = kernel.view("seq_operations", self.view.op)

    def address_of_index(self) -> int:
        """Where the position of the current record is kept: the `loff_t *pos` of start and next."""
        return self.view.addressof("index")

    async def start(self) -> int:
        """First record at the index: a pointer, 0 at the end, or a negative errno as a pointer."""
        return await self._kernel.call_guest(self._ops.start, self.view.address, self.address_of_index())

    async def next(self, record: int) -> int:
        """The record behind one, as `start`."""
        return await self._kernel.call_guest(
            self._ops.next, self.view.address, record, self.address_of_index()
        )

    async def show(self, record: int) -> int:
        """Print a record into the buffer: 0, 1 to skip it, or a negative errno."""
        return to_int(await self._kernel.call_guest(self._ops.show, self.view.address, record))

    async def stop(self, record: int) -> None:
        """End a walk."""
        await self._kernel.call_guest(self._ops.stop, self.view.address, record)

    @property
    def overflowed(self) -> bool:
        """Whether what was printed did not fit."""
        return bool(self.view.get("count") == self.view.size)

    def allocate(self, size: int) -> None:
        """Give the file an empty buffer.

        Raises:
            KernelError: ENOMEM.
        """
        kernel = self._kernel
        kvfree(kernel, self.view.buf)
        self.view.set("count", 0)
        self.view.size = size
        self.view.buf = kernel.heap.kmalloc(size) if size <= PAGE_SIZE else kernel.vmalloc.allocate(size)
        if not self.view.buf:
            raise KernelError(errno.ENOMEM, f"no memory for a record of {size} bytes")

    async def grow(self, record: int) -> None:
        """End the walk and double the buffer."""
        await self.stop(record)
        self.allocate(self.view.size * 2)

    def reset(self) -> None:
        """Back to the first record."""
        self.view.index = 0
        self.view.set("count", 0)

    # --- reading --------------------------------------------------------------------------------------

    async def read(self, copy: Callable[[bytes], int], size: int, position: int) -> int:
        """Read from a position; how many bytes were copied (seq_read_iter).

        Args:
            copy: Takes bytes to the reader; returns how many arrived.
            size: How many the reader wants.
            position: Of the file; `read_pos` says what the buffer holds.

        Raises:
            KernelError: What start or show returned, EFAULT, ENOMEM.
        """
        m = self.view
        if position == 0:
            self.reset()
        if position != m.read_pos:
            try:
                await self.traverse(position)
            except KernelError:
                m.read_pos = 0
                self.reset()
                raise
            m.read_pos = position
        if not m.buf:
            self.allocate(PAGE_SIZE)
        copied = 0
        if m.get("count"):  # left over from the last time
            copied = self._give(copy, size)
            if m.get("count"):
                return self._done(copied)
        m.set("from", 0)
        try:
            record = await self._first_record()
        except KernelError:
            if not copied:
                raise
            return self._done(copied)
        if record:
            await self._fill(record, size - copied)
            copied += self._give(copy, size - copied)
        return self._done(copied)

    def _give(self, copy: Callable[[bytes], int], room: int) -> int:
        m = self.view
        start, count = m.get("from"), m.get("count")
        given = copy(self._kernel.memory.read(m.buf + start, min(count, room)))
        m.set("count", count - given)
        m.set("from", start + given)
        return given

    def _done(self, copied: int) -> int:
        if not copied and self.view.get("count"):
            raise KernelError(errno.EFAULT, "the reader's buffer is not writable")
        self.view.read_pos += copied
        return copied

    async def _first_record(self) -> int:
        """Print records until one leaves text in the buffer; 0 at the end."""
        while True:
            try:
                return await self._try_first_record()
            except _TooSmall:
                continue

    async def _try_first_record(self) -> int:
        m, result = self.view, 0
        record = await self.start()
        while record and record < _ERR_PTR:
            result = await self.show(record)
            if result < 0:
                break
            if result:
                m.set("count", 0)
            if m.get("count"):
                if not self.overflowed:
                    return record
                await self.grow(record)
                raise _TooSmall
            record = await self.next(record)
        await self.stop(record)
        m.set("count", 0)
        _raise_for(record, result)
        return 0

    async def _fill(self, record: int, wanted: int) -> None:
        """One record is in the buffer: add more as long as they fit."""
        m = self.view
        while True:
            before, index = m.get("count"), m.index
            record = await self.next(record)
            if m.index == index:
                name = self._kernel.locate(self._ops.next)
                place = f"{name.name} [{name.module}]" if name and name.module else hex(self._ops.next)
                self._kernel.printk.emit(
                    f"seq_file: buggy .next function {place} did not update position index\n", 6
                )
                m.index = index + 1
            if not record or record >= _ERR_PTR or before >= wanted:
                break
            result = await self.show(record)
            if result > 0:
                m.set("count", before)
            elif result or self.overflowed:
                m.set("count", before)
                break
        await self.stop(record)

    async def traverse(self, offset: int) -> None:
        """Print and drop what lies before an offset.

        Raises:
            KernelError: What start, show or next returned, ENOMEM.
        """
        while True:
            try:
                return await self._try_traverse(offset)
            except _TooSmall:
                continue

    async def _try_traverse(self, offset: int) -> None:
        m = self.view
        self.reset()
        m.set("from", 0)
        if not offset:
            return
        if not m.buf:
            self.allocate(PAGE_SIZE)
        position, record, result = 0, await self.start(), 0
        while record and record < _ERR_PTR:
            result = await self.show(record)
            if result < 0:
                break
            if result:
                m.set("count", 0)
            if self.overflowed:
                await self.grow(record)
                raise _TooSmall
            record = await self.next(record)
            count = m.get("count")
            if position + count > offset:
                m.set("from", offset - position)
                m.set("count", count - (offset - position))
                break
            position += count
            m.set("count", 0)
            if position == offset:
                break
        await self.stop(record)
        _raise_for(record, result)


def _raise_for(record: int, result: int) -> None:
    """A walk ended: raise if the last record is an error, or show() refused it."""
    if record >= _ERR_PTR:
        raise KernelError((1 << 64) - record, "the driver's start() or next() refused")
    if result < 0:
        raise KernelError(-result, "the driver's show() refused")


def seq_file_of(kernel: KernelCore, file: StructView) -> SeqFile:
    """The sequential file behind an open `struct file`."""
    return SeqFile(kernel, file.private_data)


# --- file operations ------------------------------------------------------------------------------------


@export("int seq_open(struct file *file, const struct seq_operations *op)")
def seq_open(kernel: KernelCore, file: StructView, op: int) -> int:
    """Make an open file a sequential one; it takes `private_data` (fs/seq_file.c)."""
    if file.private_data:
        kernel.warnings.warn("fs/seq_file.c", 61, "", "seq_open+0x67/0x80")
    address = kernel.heap.kmalloc(kernel.profile.struct("seq_file").size)
    if not address:
        return -errno.ENOMEM
    m = kernel.view("seq_file", address)
    m.op, m.file = op, file.address
    __mutex_init(kernel, m.addressof("lock"), 0, 0)
    file.private_data = address
    file.f_mode &= ~FMODE_PWRITE
    return 0


@export("ssize_t seq_read(struct file *file, char *buf, size_t size, loff_t *ppos)")
async def seq_read(kernel: KernelCore, file: StructView, buf: int, size: int, ppos: int) -> int:
    """The `read` of sequential files (fs/seq_file.c)."""
    if not size:
        return 0
    place = buf

    def copy(data: bytes) -> int:
        nonlocal place
        copied = kernel.user.write(place, data)
        place += copied
        return copied

    seq = seq_file_of(kernel, file)
    lock = seq.view.addressof("lock")
    await mutex_lock(kernel, lock)
    try:
        position = kernel.memory.read_u64(ppos)
        copied = await seq.read(copy, size, position)
        kernel.memory.write_u64(ppos, position + copied)
    except KernelError as error:
        copied = -error.errno
    mutex_unlock(kernel, lock)
    return copied


@export("ssize_t seq_read_iter(struct kiocb *iocb, struct iov_iter *iter)")
async def seq_read_iter(kernel: KernelCore, iocb: StructView, iter: int) -> int:
    """The `read_iter` of sequential files (fs/seq_file.c)."""
    it = IovIter(kernel, iter)
    if not it.count:
        return 0
    seq = SeqFile(kernel, kernel.view("file", iocb.ki_filp).private_data)
    lock = seq.view.addressof("lock")
    await mutex_lock(kernel, lock)
    try:
        copied = await seq.read(it.put, it.count, iocb.ki_pos)
        iocb.ki_pos += copied
    except KernelError as error:
        copied = -error.errno
    mutex_unlock(kernel, lock)
    return copied


@export("loff_t seq_lseek(struct file *file, loff_t offset, int whence)")
async def seq_lseek(kernel: KernelCore, file: StructView, offset: int, whence: int) -> int:
    """The `llseek` of sequential files: walks there (fs/seq_file.c)."""
    seq = seq_file_of(kernel, file)
    lock = seq.view.addressof("lock")
    await mutex_lock(kernel, lock)
    try:
        result = await _lseek(seq, file, offset, whence)
    except KernelError as error:
        result = -error.errno
    mutex_unlock(kernel, lock)
    return result


async def _lseek(seq: SeqFile, file: StructView, offset: int, whence: int) -> int:
    if whence == SEEK_CUR:
        offset += file.signed("f_pos")
    if whence not in (SEEK_SET, SEEK_CUR) or offset < 0:
        raise KernelError(errno.EINVAL, "only absolute and relative positions from 0 on exist")
    if offset != seq.view.read_pos:
        try:
            await seq.traverse(offset)
        except KernelError:
            file.f_pos = seq.view.read_pos = 0
            seq.reset()
            raise
        seq.view.read_pos = offset
    file.f_pos = offset
    return offset


@export("int seq_release(struct inode *inode, struct file *file)")
def seq_release(kernel: KernelCore, inode: int, file: StructView) -> int:
    """The `release` of sequential files (fs/seq_file.c)."""
    m = kernel.view("seq_file", file.private_data)
    kvfree(kernel, m.buf)
    kernel.heap.kfree(m.address)
    return 0


# --- files of one record, and files with data of their own ------------------------------------------------


@export("void *single_start(struct seq_file *p, loff_t *pos)")
def single_start(kernel: KernelCore, p: int, pos: int) -> int:
    """The one record of a single_open() file (fs/seq_file.c)."""
    return 0 if kernel.memory.read_u64(pos) else SEQ_START_TOKEN


@export("void *single_next(struct seq_file *p, void *v, loff_t *pos)")
def single_next(kernel: KernelCore, p: int, v: int, pos: int) -> int:
    """Behind it there is nothing (fs/seq_file.c)."""
    kernel.memory.write_u64(pos, kernel.memory.read_u64(pos) + 1)
    return 0


@export("void single_stop(struct seq_file *p, void *v)")
def single_stop(kernel: KernelCore, p: int, v: int) -> None:
    """Nothing to end (fs/seq_file.c)."""


@export("int single_open(struct file *file, int (*show)(struct seq_file *, void *), void *data)")
def single_open(kernel: KernelCore, file: StructView, show: int, data: int) -> int:
    """A sequential file of one record (fs/seq_file.c)."""
    address = kernel.heap.kmalloc(kernel.profile.struct("seq_operations").size)
    if not address:
        return -errno.ENOMEM
    ops = kernel.view("seq_operations", address)
    ops.set("start", kernel.symbol("single_start"))
    ops.set("next", kernel.symbol("single_next"))
    ops.set("stop", kernel.symbol("single_stop"))
    ops.set("show", show)
    result = seq_open(kernel, file, address)
    if result:
        kernel.heap.kfree(address)
    else:
        kernel.view("seq_file", file.private_data).private = data
    return result


@export(
    "int single_open_size(struct file *file, int (*show)(struct seq_file *, void *), void *data, size_t size)"
)
def single_open_size(kernel: KernelCore, file: StructView, show: int, data: int, size: int) -> int:
    """single_open with a buffer that is large enough from the start (fs/seq_file.c)."""
    result = single_open(kernel, file, show, data)
    if not result:
        seq_file_of(kernel, file).allocate(size)
    return result


@export("int single_release(struct inode *inode, struct file *file)")
def single_release(kernel: KernelCore, inode: int, file: StructView) -> int:
    """The `release` of single_open() files (fs/seq_file.c)."""
    ops = kernel.view("seq_file", file.private_data).op
    result = seq_release(kernel, inode, file)
    kernel.heap.kfree(ops)
    return result


@export("void *__seq_open_private(struct file *f, const struct seq_operations *ops, int psize)")
def __seq_open_private(kernel: KernelCore, f: StructView, ops: int, psize: int) -> int:
    """A sequential file with zeroed data of its own; its address (fs/seq_file.c)."""
    private = kernel.heap.kmalloc(psize)
    if not private:
        return 0
    if seq_open(kernel, f, ops):
        kernel.heap.kfree(private)
        return 0
    kernel.view("seq_file", f.private_data).private = private
    return private


@export("int seq_open_private(struct file *filp, const struct seq_operations *ops, int psize)")
def seq_open_private(kernel: KernelCore, filp: StructView, ops: int, psize: int) -> int:
    """__seq_open_private as an `open` (fs/seq_file.c)."""
    return 0 if __seq_open_private(kernel, filp, ops, psize) else -errno.ENOMEM


@export("int seq_release_private(struct inode *inode, struct file *file)")
def seq_release_private(kernel: KernelCore, inode: int, file: StructView) -> int:
    """The `release` of files with data of their own (fs/seq_file.c)."""
    m = kernel.view("seq_file", file.private_data)
    kernel.heap.kfree(m.private)
    m.private = 0
    return seq_release(kernel, inode, file)
