"""The system calls on files as methods of a process, named and behaving as Python's `os` has them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from kmod_emu.errors import KernelError
from kmod_emu.fs.attributes import Status
from kmod_emu.fs.readdir import names
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY
from kmod_emu.uapi.stat import S_IFREG, new_encode_dev

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.memory import UserMappings

_PAGE = 4096
_ENDLESS = 64 << 20  # bytes of a file that is read to its end
_STAT_SIZE = 144
_IOCTL_READ = 2  # _IOC_DIR: the driver writes to the caller's buffer
_POLLFD = struct.Struct("<ihH")
_DIRENTS = 1 << 15


class Caller(Protocol):
    """What a process is to these methods."""

    kernel: KernelCore
    task: Task
    memory: UserMappings
    scratch: tuple[int, int]

    def enter(self, call: str | int, *arguments: int) -> int:
        """A system call."""

    def get(self, address: int, size: int) -> bytes:
        """User memory."""


class Buffers:
    """User memory for the length of one system call, cut from a piece that the process keeps."""

    def __init__(self, process: Caller) -> None:
        self._process = process
        self._used = 0

    def __enter__(self) -> Buffers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def room(self, size: int) -> int:
        """Address of `size` bytes with whatever is in them."""
        process = self._process
        address, have = process.scratch
        if self._used + size > have:
            have = max(-(-size // _PAGE) * _PAGE, 2 * have, 4 * _PAGE)
            address, self._used = process.memory.map(have), 0
            process.scratch = address, have
        place = address + self._used
        self._used += size + 15 & ~15
        return place

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """Address of a copy."""
        address = self.room(len(data))
        mm = self._process.task.mm
        assert mm is not None
        mm.write(address, bytes(data))
        return address

    def text(self, text: str | bytes) -> int:
        """Address of a copy with a NUL behind it."""
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return self.put(raw + b"\0")


class FileCalls:
    """Methods of `Process`; each raises KernelError as the system call fails."""

    scratch: tuple[int, int] = (0, 0)

    # --- open files ---------------------------------------------------------------------------------

    def open(self: Caller, path: str | bytes, flags: int = O_RDONLY, mode: int = 0o666) -> int:
        """open(2): a descriptor.

        >>> from kmod_emu import Kernel
        >>> process = Kernel().process()
        >>> fd = process.open("/tmp/note", 0o102)  # O_CREAT | O_RDWR
        >>> process.write(fd, b"hello"), process.lseek(fd, 1, 0), process.read(fd, 10)
        (5, 1, b'ello')
        """
        return self.enter("open", Buffers(self).text(path), flags, mode)

    def close(self: Caller, fd: int) -> None:
        """close(2)."""
        self.enter("close", fd)

    def read(self: Caller, fd: int, count: int) -> bytes:
        """read(2): at most `count` bytes, also where a driver claims more."""
        address = Buffers(self).room(count)
        return self.get(address, min(self.enter("read", fd, address, count), count))

    def write(self: Caller, fd: int, data: bytes) -> int:
        """write(2): how many bytes the file took."""
        return self.enter("write", fd, Buffers(self).put(data), len(data))

    def pread(self: Caller, fd: int, count: int, offset: int) -> bytes:
        """pread64(2)."""
        address = Buffers(self).room(count)
        return self.get(address, min(self.enter("pread64", fd, address, count, offset), count))

    def pwrite(self: Caller, fd: int, data: bytes, offset: int) -> int:
        """pwrite64(2)."""
        return self.enter("pwrite64", fd, Buffers(self).put(data), len(data), offset)

    def readv(self: Caller, fd: int, buffers: Sequence[bytearray]) -> int:
        """readv(2): fills the buffers in turn; how many bytes."""
        room = Buffers(self)
        places = [room.room(len(buffer)) for buffer in buffers]
        vector = b"".join(struct.pack("<QQ", a, len(b)) for a, b in zip(places, buffers, strict=True))
        total = left = self.enter("readv", fd, room.put(vector), len(buffers))
        for place, buffer in zip(places, buffers, strict=True):
            size = min(left, len(buffer))
            buffer[:size] = self.get(place, size)
            left -= size
        return total

    def writev(self: Caller, fd: int, buffers: Sequence[bytes]) -> int:
        """writev(2): how many bytes the file took."""
        room = Buffers(self)
        vector = b"".join(struct.pack("<QQ", room.put(b), len(b)) for b in buffers)
        return self.enter("writev", fd, room.put(vector), len(buffers))

    def lseek(self: Caller, fd: int, offset: int, whence: int) -> int:
        """lseek(2): the new position."""
        return self.enter("lseek", fd, offset, whence)

    def ioctl(self: Caller, fd: int, cmd: int, arg: int | bytes | bytearray = 0) -> int:
        """ioctl(2). Bytes are passed by address; what the driver writes to a bytearray comes back in it."""
        if isinstance(arg, int):
            return self.enter("ioctl", fd, cmd, arg)
        address = Buffers(self).put(arg)
        result = self.enter("ioctl", fd, cmd, address)
        if isinstance(arg, bytearray):
            arg[:] = self.get(address, len(arg))
        return result

    def fsync(self: Caller, fd: int) -> None:
        """fsync(2)."""
        self.enter("fsync", fd)

    def fdatasync(self: Caller, fd: int) -> None:
        """fdatasync(2)."""
        self.enter("fdatasync", fd)

    def ftruncate(self: Caller, fd: int, length: int) -> None:
        """ftruncate(2)."""
        self.enter("ftruncate", fd, length)

    def dup(self: Caller, fd: int) -> int:
        """dup(2)."""
        return self.enter("dup", fd)

    def dup2(self: Caller, fd: int, fd2: int) -> int:
        """dup2(2)."""
        return self.enter("dup2", fd, fd2)

    def fcntl(self: Caller, fd: int, cmd: int, arg: int = 0) -> int:
        """fcntl(2)."""
        return self.enter("fcntl", fd, cmd, arg)

    def pipe(self: Caller, flags: int = 0) -> tuple[int, int]:
        """pipe2(2): the reading end, the writing end."""
        address = Buffers(self).room(8)
        self.enter("pipe2", address, flags)
        reading, writing = struct.unpack("<ii", self.get(address, 8))
        return reading, writing

    def memfd(self: Caller, data: bytes, flags: int = O_RDONLY) -> int:
        """A descriptor of a regular file with the given contents."""
        if _OPEN in self.kernel.own_syscalls:  # the base kernel has files of its own
            return _unnamed(self, data, flags)
        from kmod_emu.user.syscalls_file import memfd

        return int(self.kernel.sched.run(self.task, memfd(self.kernel, "", flags, data)))

    def poll(self: Caller, fds: dict[int, int], timeout_ms: int = -1) -> dict[int, int]:
        """poll(2): what each descriptor is ready for, POLL*; those that are not are left out."""
        address = Buffers(self).put(b"".join(_POLLFD.pack(fd, events, 0) for fd, events in fds.items()))
        self.enter("poll", address, len(fds), timeout_ms)
        answers = _POLLFD.iter_unpack(self.get(address, len(fds) * _POLLFD.size))
        return {fd: revents for fd, _, revents in answers if revents}

    def select(
        self: Caller, read: Iterable[int], write: Iterable[int] = (), timeout: float | None = None
    ) -> tuple[list[int], list[int]]:
        """select(2): the descriptors that can be read, those that can be written."""
        room, sets = Buffers(self), []
        asked = [list(read), list(write)]
        for fds in asked:
            bits = sum(1 << fd for fd in set(fds))
            sets.append(room.put(bits.to_bytes(128, "little")))
        limit = 0
        if timeout is not None:
            limit = room.put(struct.pack("<qq", *divmod(int(timeout * 1_000_000), 1_000_000)))
        self.enter("select", max([*asked[0], *asked[1], -1]) + 1, sets[0], sets[1], 0, limit)
        ready = [int.from_bytes(self.get(place, 128), "little") for place in sets]
        chosen = [[fd for fd in fds if bits >> fd & 1] for fds, bits in zip(asked, ready, strict=True)]
        return chosen[0], chosen[1]

    # --- about files --------------------------------------------------------------------------------

    def stat(self: Caller, path: str | bytes, *, follow_symlinks: bool = True) -> Status:
        """stat(2), lstat(2)."""
        room = Buffers(self)
        place = room.text(path)
        address = room.room(_STAT_SIZE)
        self.enter("stat" if follow_symlinks else "lstat", place, address)
        return Status.unpack(self.get(address, _STAT_SIZE))

    def fstat(self: Caller, fd: int) -> Status:
        """fstat(2)."""
        address = Buffers(self).room(_STAT_SIZE)
        self.enter("fstat", fd, address)
        return Status.unpack(self.get(address, _STAT_SIZE))

    def access(self: Caller, path: str | bytes, mode: int) -> None:
        """access(2)."""
        self.enter("access", Buffers(self).text(path), mode)

    def listdir(self: Caller, path: str | bytes = ".") -> list[str]:
        """Names in a directory, in the order in which getdents64(2) gives them."""
        room = Buffers(self)
        place, records = room.room(_DIRENTS), b""
        fd = self.enter("open", room.text(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        try:
            while size := self.enter("getdents64", fd, place, _DIRENTS):
                records += self.get(place, size)
        finally:
            if not self.task.dead:
                self.enter("close", fd)
        return [name for name in names(records) if name not in (".", "..")]

    def readlink(self: Caller, path: str | bytes) -> str:
        """readlink(2)."""
        room = Buffers(self)
        place = room.text(path)
        address = room.room(_PAGE)
        size = self.enter("readlink", place, address, _PAGE)
        return self.get(address, size).decode("utf-8", "surrogateescape")

    # --- names --------------------------------------------------------------------------------------

    def mknod(self: Caller, path: str | bytes, mode: int = S_IFREG | 0o600, device: int = 0) -> None:
        """mknod(2); `device` is from `makedev`, as `os.makedev` gives it."""
        self.enter("mknod", Buffers(self).text(path), mode, device)

    def mkdir(self: Caller, path: str | bytes, mode: int = 0o777) -> None:
        """mkdir(2)."""
        self.enter("mkdir", Buffers(self).text(path), mode)

    def rmdir(self: Caller, path: str | bytes) -> None:
        """rmdir(2)."""
        self.enter("rmdir", Buffers(self).text(path))

    def unlink(self: Caller, path: str | bytes) -> None:
        """unlink(2)."""
        self.enter("unlink", Buffers(self).text(path))

    def rename(self: Caller, old: str | bytes, new: str | bytes) -> None:
        """rename(2)."""
        room = Buffers(self)
        self.enter("rename", room.text(old), room.text(new))

    def link(self: Caller, old: str | bytes, new: str | bytes) -> None:
        """link(2)."""
        room = Buffers(self)
        self.enter("link", room.text(old), room.text(new))

    def symlink(self: Caller, target: str | bytes, path: str | bytes) -> None:
        """symlink(2)."""
        room = Buffers(self)
        self.enter("symlink", room.text(target), room.text(path))

    def chmod(self: Caller, path: str | bytes, mode: int) -> None:
        """chmod(2)."""
        self.enter("chmod", Buffers(self).text(path), mode)

    def chown(self: Caller, path: str | bytes, uid: int, gid: int) -> None:
        """chown(2)."""
        self.enter("chown", Buffers(self).text(path), uid & 0xFFFF_FFFF, gid & 0xFFFF_FFFF)

    def truncate(self: Caller, path: str | bytes, length: int) -> None:
        """truncate(2)."""
        self.enter("truncate", Buffers(self).text(path), length)

    def utime(self: Caller, path: str | bytes, ns: tuple[int, int] | None = None) -> None:
        """utimensat(2): access and modification time in nanoseconds; None is now."""
        room = Buffers(self)
        times = 0
        if ns is not None:
            times = room.put(struct.pack("<4q", *divmod(ns[0], 10**9), *divmod(ns[1], 10**9)))
        self.enter("utimensat", AT_FDCWD & (1 << 64) - 1, room.text(path), times, 0)

    def chdir(self: Caller, path: str | bytes) -> None:
        """chdir(2)."""
        self.enter("chdir", Buffers(self).text(path))

    def getcwd(self: Caller) -> str:
        """getcwd(2)."""
        address = Buffers(self).room(_PAGE)
        size = self.enter("getcwd", address, _PAGE)
        return self.get(address, size - 1).decode("utf-8", "surrogateescape")

    def umask(self: Caller, mask: int) -> int:
        """umask(2): the mask before."""
        return self.enter("umask", mask)

    def read_file(self, path: str | bytes) -> bytes:
        """Open, read to the end, close.

        Raises:
            KernelError: EFBIG, the end does not come.
        """
        fd = self.open(path)  # type: ignore[misc]
        try:
            contents = bytearray()
            while piece := self.read(fd, 1 << 16):  # type: ignore[misc]
                contents += piece
                if len(contents) > _ENDLESS:
                    raise KernelError(errno.EFBIG, f"it does not end after {_ENDLESS >> 20} MiB")
            return bytes(contents)
        finally:
            if not self.task.dead:  # type: ignore[attr-defined]
                self.close(fd)  # type: ignore[misc]


def makedev(major: int, minor: int) -> int:
    """A device number for `mknod`, as `os.makedev` makes it on Linux.

    >>> makedev(246, 7)
    62983
    """
    return new_encode_dev(major << 20 | minor)


_OPEN = 2
_UNNAMED = "/tmp/.unnamed"


def _unnamed(process: Caller, data: bytes, flags: int) -> int:
    """A file without a name: made, written, opened again as wanted, and its name removed."""
    with Buffers(process) as buffers:
        path = buffers.text(_UNNAMED)
        fd = process.enter("open", path, O_WRONLY | O_CREAT, 0o600)
        done = 0
        contents = buffers.put(data)
        while done < len(data):
            done += process.enter("write", fd, contents + done, len(data) - done)
        process.enter("close", fd)
        fd = process.enter("open", path, flags, 0)
        process.enter("unlink", path)
    return fd
