"""Paths of what guest code has in its hands (fs/d_path.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.seq_print import append
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.exports import export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

_MAX_DEPTH = 200


def _names(kernel: KernelCore, dentry: int) -> list[bytes]:
    """From the top of its file system."""
    names: list[bytes] = []
    while len(names) < _MAX_DEPTH:
        view = kernel.view("dentry", dentry)
        if view.d_parent == dentry:
            break
        name = view.addressof("d_name")
        length, place = kernel.memory.read_u32(name + 4), kernel.memory.read_u64(name + 8)
        names.insert(0, kernel.memory.read(place, length))
        dentry = view.d_parent
    return names


def path_of(kernel: KernelCore, path: int) -> bytes:
    """Of a `struct path`, as /proc/PID/fd shows it."""
    mount, dentry = kernel.memory.read_u64(path), kernel.memory.read_u64(path + 8)
    names = _names(kernel, dentry)
    at = next((at for at, sb in kernel[Vfs].mounts.items() if mount and sb.mount_address == mount), None)
    if at is None:
        return b"anon_inode:" + b"/".join(names)
    text = at.rstrip("/").encode("utf-8", "surrogateescape") + b"".join(b"/" + name for name in names)
    gone = any(f.dentry.address == dentry and f.dentry.unhashed for f in kernel[Vfs].open_files)
    return (text or b"/") + (b" (deleted)" if gone else b"")


def _at_end(kernel: KernelCore, buf: int, buflen: int, text: bytes) -> int:
    """The text at the end of a buffer; where it begins, or an error pointer."""
    if len(text) + 1 > buflen:
        raise KernelError(errno.ENAMETOOLONG, "the path does not fit into the buffer")
    place = buf + buflen - len(text) - 1
    kernel.memory.write(place, text + b"\0")
    return place


@export("char *d_path(const struct path *path, char *buf, int buflen)")
def d_path(kernel: KernelCore, path: int, buf: int, buflen: int) -> int:
    """The whole path."""
    return _at_end(kernel, buf, buflen, path_of(kernel, path))


@export("char *file_path(struct file *filp, char *buf, int buflen)")
def file_path(kernel: KernelCore, filp: StructView, buf: int, buflen: int) -> int:
    """The path of an open file."""
    return d_path(kernel, filp.addressof("f_path"), buf, buflen)


@export("char *dentry_path_raw(const struct dentry *dentry, char *buf, int buflen)")
def dentry_path_raw(kernel: KernelCore, dentry: int, buf: int, buflen: int) -> int:
    """The path within its file system."""
    return _at_end(kernel, buf, buflen, b"/" + b"/".join(_names(kernel, dentry)))


def _show(kernel: KernelCore, m: StructView, text: bytes, escaped: bytes) -> int:
    """Print a path, characters of `escaped` in octal; its length, or -1 if it does not fit."""
    shown = b"".join(b"\\%03o" % byte if byte in escaped else bytes((byte,)) for byte in text)
    return len(shown) if append(kernel, m, shown) else -1


@export("int seq_path(struct seq_file *m, const struct path *path, const char *esc)")
def seq_path(kernel: KernelCore, m: StructView, path: int, esc: bytes) -> int:
    """Print a path (fs/seq_file.c)."""
    return _show(kernel, m, path_of(kernel, path), esc)


@export("int seq_file_path(struct seq_file *m, struct file *file, const char *esc)")
def seq_file_path(kernel: KernelCore, m: StructView, file: StructView, esc: bytes) -> int:
    """Print the path of an open file (fs/seq_file.c)."""
    return seq_path(kernel, m, file.addressof("f_path"), esc)


@export("int seq_dentry(struct seq_file *m, struct dentry *dentry, const char *esc)")
def seq_dentry(kernel: KernelCore, m: StructView, dentry: int, esc: bytes) -> int:
    """Print a path within its file system (fs/seq_file.c)."""
    return _show(kernel, m, b"/" + b"/".join(_names(kernel, dentry)), esc)
