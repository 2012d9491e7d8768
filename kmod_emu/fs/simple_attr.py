"""Files that are one number behind two functions of the module's (fs/libfs.c: DEFINE_SIMPLE_ATTRIBUTE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.libfs import simple_read_from_buffer
from kmod_emu.kernel.activation import to_int
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.va_list import RegisterArguments
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

# struct simple_attr, which only these functions look into: get, set, get_buf[24], set_buf[24], data, fmt.
_GET, _SET, _GET_BUF, _SET_BUF, _DATA, _FMT, _SIZE = 0, 8, 16, 40, 64, 72, 80
_BUFFER = 24


@export(
    "int simple_attr_open(struct inode *inode, struct file *file, int (*get)(void *, u64 *), "
    "int (*set)(void *, u64), const char *fmt)"
)
def simple_attr_open(
    kernel: KernelCore, inode: StructView, file: StructView, get: int, set: int, fmt: int
) -> int:
    """The `open` of such files (fs/libfs.c)."""
    attribute = kernel.heap.kmalloc(_SIZE)
    if not attribute:
        return -errno.ENOMEM
    for offset, value in ((_GET, get), (_SET, set), (_DATA, inode.i_private), (_FMT, fmt)):
        kernel.memory.write_u64(attribute + offset, value)
    file.private_data = attribute
    return 0


@export("int simple_attr_release(struct inode *inode, struct file *file)")
def simple_attr_release(kernel: KernelCore, inode: int, file: StructView) -> int:
    """The `release` of such files (fs/libfs.c)."""
    kernel.heap.kfree(file.private_data)
    return 0


@export("ssize_t simple_attr_read(struct file *file, char *buf, size_t len, loff_t *ppos)")
async def simple_attr_read(kernel: KernelCore, file: StructView, buf: int, len: int, ppos: int) -> int:
    """Print what get() says (fs/libfs.c)."""
    memory, attribute = kernel.memory, file.private_data
    get = memory.read_u64(attribute + _GET)
    if not get:
        raise KernelError(errno.EACCES, "the file has no get function")
    text = memory.read_cstring(attribute + _GET_BUF)
    if not (memory.read_u64(ppos) and text):
        number = kernel.heap.kmalloc(8)
        error = to_int(await kernel.call_guest(get, memory.read_u64(attribute + _DATA), number))
        value = memory.read_u64(number)
        kernel.heap.kfree(number)
        if error:
            return error
        form = memory.read_cstring(memory.read_u64(attribute + _FMT))
        text = vsnprintf(form, RegisterArguments([value], memory, 0), kernel.format_context)[: _BUFFER - 1]
        memory.write(attribute + _GET_BUF, text + b"\0")
    return int(simple_read_from_buffer(kernel, buf, len, ppos, attribute + _GET_BUF, _size(text)))


def _size(text: bytes) -> int:
    return len(text)


async def _write(kernel: KernelCore, file: StructView, buf: int, size: int, parser: str) -> int:
    memory, attribute = kernel.memory, file.private_data
    set_function = memory.read_u64(attribute + _SET)
    if not set_function:
        raise KernelError(errno.EACCES, "the file has no set function")
    text = kernel.user.copy_from(buf, min(size, _BUFFER - 1))
    memory.write(attribute + _SET_BUF, text + b"\0")
    number = kernel.heap.kmalloc(8)
    error = to_int(await kernel.call_guest(kernel.symbol(parser), attribute + _SET_BUF, 0, number))
    value = memory.read_u64(number)
    kernel.heap.kfree(number)
    if not error:
        error = to_int(await kernel.call_guest(set_function, memory.read_u64(attribute + _DATA), value))
    return error or size


@export("ssize_t simple_attr_write(struct file *file, const char *buf, size_t len, loff_t *ppos)")
async def simple_attr_write(kernel: KernelCore, file: StructView, buf: int, len: int, ppos: int) -> int:
    """Give set() the number written (fs/libfs.c)."""
    return await _write(kernel, file, buf, len, "kstrtoull")


@export("ssize_t simple_attr_write_signed(struct file *file, const char *buf, size_t len, loff_t *ppos)")
async def simple_attr_write_signed(
    kernel: KernelCore, file: StructView, buf: int, len: int, ppos: int
) -> int:
    """simple_attr_write for numbers that may be negative (fs/libfs.c)."""
    return await _write(kernel, file, buf, len, "kstrtoll")


for _debugfs, _simple in (
    ("debugfs_attr_read", simple_attr_read),
    ("debugfs_attr_write", simple_attr_write),
    ("debugfs_attr_write_signed", simple_attr_write_signed),
):
    export(f"ssize_t {_debugfs}(struct file *file, char *buf, size_t len, loff_t *ppos)")(_simple)
