"""Descriptors and working directories of processes (fs/file.c, fs/fs_struct.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.file import FMODE_PATH
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.fs.file import File
    from kmod_emu.fs.inode import Dentry

RLIMIT_NOFILE = 1024
_MAX_FD = 1 << 20


def as_int(value: int) -> int:
    """A register's lower half as `int`.

    >>> as_int(0xFFFF_FFFF)
    -1
    """
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


class FilesStruct:
    """A table of descriptors; processes may share one."""

    def __init__(self) -> None:
        self.files: dict[int, File] = {}
        self.close_on_exec: set[int] = set()
        self._reserved: set[int] = set()  # descriptors that a driver is going to install files at
        self.users = 1

    def free_fd(self, lowest: int = 0) -> int:
        """The lowest free descriptor from `lowest` on; EMFILE."""
        for fd in range(lowest, RLIMIT_NOFILE):
            if fd not in self.files and fd not in self._reserved:
                return fd
        raise KernelError(errno.EMFILE, f"the process has {RLIMIT_NOFILE} files open")

    def reserve(self, *, cloexec: bool) -> int:
        """Keep the lowest free descriptor for a file to come; EMFILE."""
        fd = self.free_fd()
        self._reserved.add(fd)
        self.set_close_on_exec(fd, cloexec)
        return fd

    def unreserve(self, fd: int) -> None:
        """No longer."""
        self._reserved.discard(fd)
        self.close_on_exec.discard(fd)

    def install(self, file: File, *, cloexec: bool = False, lowest: int = 0) -> int:
        """Give a file the lowest free descriptor; EMFILE."""
        fd = self.free_fd(lowest)
        self.put(fd, file, cloexec=cloexec)
        return fd

    def put(self, fd: int, file: File, *, cloexec: bool = False) -> None:
        """Give a file this descriptor."""
        self.files[fd] = file
        self.set_close_on_exec(fd, cloexec)

    def set_close_on_exec(self, fd: int, on: bool) -> None:
        """Whether execve(2) closes it."""
        (self.close_on_exec.add if on else self.close_on_exec.discard)(fd)

    def get(self, fd: int, *, path: bool = False) -> File:
        """The open file of a descriptor (fdget); EBADF. O_PATH descriptors count only if `path`."""
        file = self.files.get(as_int(fd))
        if file is None or (file.mode & FMODE_PATH and not path):
            raise KernelError(errno.EBADF, f"{as_int(fd)} is no open file descriptor")
        return file

    def take(self, fd: int) -> File:
        """Free a descriptor and return its file; EBADF."""
        file = self.get(fd, path=True)
        del self.files[as_int(fd)]
        self.close_on_exec.discard(as_int(fd))
        return file

    def copy(self) -> FilesStruct:
        """What a child of fork(2) gets: the same open files."""
        child = FilesStruct()
        child.files, child.close_on_exec = dict(self.files), set(self.close_on_exec)
        for file in self.files.values():
            file.count += 1
        return child


class FsStruct:
    """Where paths of a process begin, and its umask."""

    def __init__(self, root: Dentry) -> None:
        self.root = self.cwd = root
        self.umask = 0o022
        self.users = 1

    def copy(self) -> FsStruct:
        """What a child of fork(2) gets."""
        child = FsStruct(self.root)
        child.cwd, child.umask = self.cwd, self.umask
        return child
