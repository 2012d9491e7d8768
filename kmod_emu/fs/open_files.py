"""Open files in snapshots and saved machines.

Going back to a snapshot finds the same `File` objects again, and what they were. In a machine loaded from
a file only what lies in guest memory is left: enough to close the files of drivers properly.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.anon_inodes import AnonInodes
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.fdtable import FilesStruct
from kmod_emu.fs.file import FileOperations
from kmod_emu.fs.guest_file import GuestFile, GuestOperations
from kmod_emu.fs.inode import Dentry, Inode, is_device
from kmod_emu.fs.kernel_files import find
from kmod_emu.fs.proc_generic import ProcEntry
from kmod_emu.fs.vfs import Vfs

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.kernel.kernel import KernelCore


class _Known(NamedTuple):
    """An open file as it was when a snapshot was taken."""

    file: File
    dentry: Dentry
    op: FileOperations
    private: object


class OpenFiles:
    """What is open, and the processes' tables of descriptors. It is loaded when all file systems are."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._known: dict[int, _Known] = {}

    def save(self) -> Any:
        """State for a snapshot or file."""
        vfs = self._kernel[Vfs]
        files = []
        for file in vfs.open_files:
            self._known[id(file)] = _Known(file, file.dentry, file.op, file.private)
            inode = file.inode
            files.append(
                [id(file), file.address, file.dentry.path, inode.sb.kind, inode.ino,
                 file.flags, file.mode, file.pos, file.count]
            )  # fmt: skip
        tables: dict[int, list[Any]] = {}
        for pid, table in vfs.tables.items():
            descriptors = [[fd, id(file)] for fd, file in table.files.items()]
            saved = tables.setdefault(id(table), [[], descriptors, sorted(table.close_on_exec)])
            saved[0].append(pid)
        return {"files": files, "tables": list(tables.values())}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        vfs = self._kernel[Vfs]
        found = {item[0]: self._load_file(item) for item in state["files"]}
        vfs.open_files = {file: None for file in found.values() if file is not None}
        vfs.tables.clear()
        for pids, descriptors, close_on_exec in state["tables"]:
            table = FilesStruct()
            table.users, table.close_on_exec = len(pids), set(close_on_exec)
            for fd, serial in descriptors:
                if (file := found.get(serial)) is not None:
                    table.files[fd] = file
            for pid in pids:
                vfs.tables[pid] = table

    def find(self, address: int) -> File:
        """The open file whose `struct file` lies at an address."""
        return find(self._kernel, address)

    def _load_file(self, item: Any) -> File | None:
        serial, address, path, kind, ino, flags, mode, pos, count = item
        known = self._known.get(serial)
        dentry = self._find_dentry(path, kind, ino)
        if known is not None:
            file = known.file
            file.private = known.private
            file.dentry = dentry or known.dentry
            file.op = known.op if known.op is not known.dentry.inode.fop else file.dentry.inode.fop
            file.inode = file.dentry.inode
        elif address:
            file = GuestFile.at(self._kernel, address, dentry or self._nameless(address))
            file.op = self._operations(file)
        else:
            return None
        if address:
            self._connect(file)
        else:
            file.flags, file.mode, file.pos, file.count = flags, mode, pos, count
        return file

    def _operations(self, file: GuestFile) -> FileOperations:
        """Who serves a file: those of /proc and debugfs know, others have f_op, or Python does."""
        if file.inode.guest:
            return file.inode.fop
        if file.fops:
            return GuestOperations(self._kernel)
        probe = self._kernel[CharDevices].probe(file.inode.rdev) if is_device(file.inode) else None
        return probe.cdev if probe is not None and isinstance(probe.cdev, FileOperations) else file.inode.fop

    def _find_dentry(self, path: str, kind: str, ino: int) -> Dentry | None:
        with suppress(KernelError):
            dentry = self._kernel[Vfs].lookup(path)
            if (dentry.inode.sb.kind, dentry.inode.ino) == (kind, ino):
                return dentry
        return None

    def _nameless(self, address: int) -> Dentry:
        """For a file whose name was removed, and for those that never had one."""
        kernel = self._kernel
        anonymous = kernel[AnonInodes].inode
        guest = kernel.view("inode", kernel.view("file", address).f_inode)
        inode = anonymous
        if guest.address != anonymous.address:
            inode = Inode(anonymous.sb, guest.i_mode)
            inode.rdev, inode.nlink, inode.fop = guest.i_rdev, 0, anonymous.fop
        dentry = Dentry("", None, inode)
        dentry.unhashed = True
        return dentry

    def _connect(self, file: File) -> None:
        """The structs in guest memory that belong to it are known again."""
        view = self._kernel.view("file", file.address)
        file.inode.address = view.f_inode
        file.dentry.address = self._kernel.memory.read_u64(view.addressof("f_path") + 8)
        entry = getattr(file.inode, "node", None)
        if isinstance(entry, ProcEntry) and file not in entry.openers:
            entry.openers.append(file)
