"""The root of all paths, and what each process has of it: its descriptors, its working directory.

What is mounted where:

- `/`: a ramfs with the directories that programs expect;
- `/dev`: devtmpfs, where drivers' nodes appear;
- `/proc`, `/sys`: trees computed when somebody looks (tree.py).
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.fs.fdtable import FilesStruct, FsStruct
from kmod_emu.fs.file import File, FileOperations
from kmod_emu.fs.guest_file import GuestFile
from kmod_emu.fs.namei import Walker
from kmod_emu.fs.ramfs import RAMFS_MAGIC, TMPFS_MAGIC, RamInode, RamSuperBlock
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_RDWR
from kmod_emu.uapi.stat import S_IFCHR, S_IFDIR, S_IFREG, S_ISVTX, mkdev

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.char_dev import CharDevices
    from kmod_emu.fs.inode import Dentry, SuperBlock
    from kmod_emu.fs.namei import Place
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_DIRECTORIES = {"boot": 0o755, "dev": 0o755, "etc": 0o755, "lib": 0o755, "lib/modules": 0o755,
                "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o777 | S_ISVTX,
                "var": 0o755, "var/log": 0o755}  # fmt: skip
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "hostname": "kmod-emu\n",
}


class Vfs:
    """Mounts, and the files of all processes.

    Attributes:
        root: The root directory.
        dev: The devtmpfs.
        open_files: All files that are open, in order of opening.
        tables: The processes' descriptors, by pid.
    """

    def __init__(self, kernel: KernelCore, special: FileOperations, devices: CharDevices) -> None:
        self._kernel, self._devices = kernel, devices
        self._minors = 0
        self.tables: dict[int, FilesStruct] = {}
        self._fs: dict[int, FsStruct] = {}
        self.open_files: dict[File, None] = {}
        rootfs = RamSuperBlock(kernel, "rootfs", RAMFS_MAGIC, self.anonymous_dev(), special, self.now)
        self.dev = RamSuperBlock(kernel, "devtmpfs", TMPFS_MAGIC, self.anonymous_dev(), special, self.now)
        self.root = rootfs.root
        self.mounts: dict[str, SuperBlock] = {"/": rootfs}
        for path, mode in _DIRECTORIES.items():
            self.make(path, S_IFDIR | mode)
        for name, text in ETC.items():
            inode = self.make(f"etc/{name}", S_IFREG | 0o644).inode
            assert isinstance(inode, RamInode)
            inode.data += text.encode()
        self.mount("/dev", self.dev)

    def now(self) -> int:
        """The wall clock, in nanoseconds since 1970."""
        return EPOCH_AT_BOOT_NS + self._kernel.clock.now_ns

    def anonymous_dev(self) -> int:
        """st_dev for a file system without a device."""
        self._minors += 1
        return mkdev(0, self._minors)

    def mount(self, path: str, sb: SuperBlock) -> None:
        """Cover a directory by a file system."""
        place = self.lookup(path)
        sb.covers, place.mounted = place, sb
        self.mounts[path] = sb

    def umount(self, path: str) -> None:
        """Uncover a directory."""
        if place := self.mounts.pop(path).covers:
            place.mounted = None

    def make(self, path: str, mode: int, rdev: int = 0) -> Dentry:
        """A file or directory of the kernel's own, whose parents exist."""
        parent, _, name = path.strip("/").rpartition("/")
        where = self.lookup("/" + parent)
        dentry = where.inode.create(where, name, mode, self._kernel.tasks.init_task, rdev)
        dentry.inode.mode = mode
        return dentry

    def lookup(self, path: str) -> Dentry:
        """Where a path leads, for the kernel itself."""
        return self.walk(self._kernel.tasks.init_task, path).found

    def walk(self, task: Task, path: str, *, follow: bool = True, start: Dentry | None = None) -> Place:
        """Where a path of a task leads; the last name need not exist."""
        return Walker(task, self.fs(task), start).walk(path, follow=follow)

    # --- what a process has -------------------------------------------------------------------------

    def files(self, task: Task) -> FilesStruct:
        """A process's descriptors; a new process's 0 to 2 are /dev/null."""
        table = self.tables.get(task.pid)
        if table is None:
            table = self.tables[task.pid] = FilesStruct()
            null = self._devices.probe(mkdev(1, 3))
            if null is not None and isinstance(null.cdev, FileOperations):
                for _ in range(3):
                    file = self._new_file(self.lookup("/dev/null"), O_RDWR)
                    file.op = null.cdev
                    file.mode |= 0xE_0000  # opened, can be read, can be written
                    table.install(file)
        return table

    def fs(self, task: Task) -> FsStruct:
        """A process's working directory and umask."""
        fs = self._fs.get(task.pid)
        if fs is None:
            fs = self._fs[task.pid] = FsStruct(self.root)
        return fs

    def fork(self, parent: Task, child: Task, *, share_files: bool = False, share_fs: bool = False) -> None:
        """Give a child the files of its parent, or a copy of the table (CLONE_FILES, CLONE_FS)."""
        files, fs = self.files(parent), self.fs(parent)
        self.tables[child.pid] = files if share_files else files.copy()
        self._fs[child.pid] = fs if share_fs else fs.copy()
        files.users += share_files
        fs.users += share_fs

    def leave(self, task: Task) -> list[File]:
        """A process ends: the files that nobody shares with it, to be closed in order of descriptor."""
        self._fs.pop(task.pid, None)
        table = self.tables.pop(task.pid, None)
        if table is None:
            return []
        table.users -= 1
        return [] if table.users else [file for _, file in sorted(table.files.items())]

    def unshare(self, task: Task) -> FilesStruct:
        """execve(2): a table of its own."""
        table = self.files(task)
        if table.users > 1:
            table.users -= 1
            table = self.tables[task.pid] = table.copy()
        return table

    # --- files --------------------------------------------------------------------------------------

    def new_file(self, dentry: Dentry, flags: int, *, guest: bool = False) -> File:
        """A `File` for what is about to be opened, in guest memory if guest code serves it; ENFILE."""
        self.check_limit()
        return self._new_file(dentry, flags, guest=guest)

    def _new_file(self, dentry: Dentry, flags: int, *, guest: bool = False) -> File:
        inode = dentry.inode
        device = inode.is_type(S_IFCHR) and not self._devices.is_python(inode.rdev)
        file = (GuestFile if device or inode.guest or guest else File)(self._kernel, dentry, flags)
        if inode.guest:
            file.op = inode.fop
        self.open_files[file] = None
        return file

    def check_limit(self) -> None:
        """ENFILE if there are too many open files."""
        if not self._kernel.usage.may_open(len(self.open_files)):
            raise KernelError(errno.ENFILE, f"{len(self.open_files)} files are open on the machine")

    @contextmanager
    def without_lent(self) -> Iterator[None]:
        """Meanwhile files that the host lends the machine are not there."""
        with ExitStack() as stack:
            for sb in self.mounts.values():
                if isinstance(sb, RamSuperBlock):
                    stack.enter_context(sb.without_lent())
            yield

    def save(self) -> Any:
        """State for a snapshot or file; for what is open see open_files.py."""
        stored = {path: sb.save() for path, sb in self.mounts.items() if isinstance(sb, RamSuperBlock)}
        return {
            "stored": stored,
            "guest": {
                path: [sb.address, sb.mount_address, sb.root.address, sb.root.inode.address]
                for path, sb in self.mounts.items()
            },
            "fs": [[pid, fs.cwd.path, fs.umask] for pid, fs in self._fs.items()],
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        for path in self.mounts.keys() - state["guest"].keys():
            self.umount(path)
        for path, sb in self.mounts.items():
            sb.address, sb.mount_address, root, inode = state["guest"][path]
            if isinstance(sb, RamSuperBlock):
                sb.load(state["stored"][path])
            else:
                sb.root.address, sb.root.inode.address = root, inode
        self._fs.clear()
        for pid, cwd, umask in state["fs"]:
            fs = self._fs[pid] = FsStruct(self.root)
            fs.umask = umask
            with suppress(KernelError):
                fs.cwd = self.lookup(cwd)
