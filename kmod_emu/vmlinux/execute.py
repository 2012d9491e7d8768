"""Running a program on the real kernel from outside: streams, files it sees, its exit status.

Nothing of the host is alive in the machine: what is bound is copied, and copied back if that was asked for.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY
from kmod_emu.uapi.stat import S_IFCHR
from kmod_emu.user.execute import applets, sysroot
from kmod_emu.user.stdio import HostEnd
from kmod_emu.user.userland import RO, RW, Userland
from kmod_emu.vmlinux.streams import MAJOR, NODE
from kmod_emu.vmlinux.tasks import VmlinuxTask
from kmod_emu.vmlinux.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.process import Process
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_CHUNK = 1 << 16
_SEEK_DATA, _SEEK_HOLE = 3, 4
_GRACE_NS = 10_000_000
_GRACE = 0.5  # seconds of processor time that the end of a program may take
_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096


class VmlinuxUserland(Userland):
    """Programs and files of a distribution's kernel: files are its own, those of the host are copied."""

    _kernel: VmlinuxKernel

    def __init__(self, kernel: VmlinuxKernel) -> None:
        super().__init__(kernel)
        self._lent: list[tuple[Path, str]] = []
        self._terminal: Terminal | None = None

    def _end(self, fd: int | None = None, buffer: bytearray | None = None) -> HostEnd:
        """What is outside of a descriptor."""
        return HostEnd(fd, buffer)

    def _start(self, path: str, argv: list[bytes], envp: list[bytes], ends: list[HostEnd], uid: int) -> Task:
        """A task that is about to run a program."""
        kernel = self._kernel
        kernel.streams.ends = ends
        self._make_nodes()
        nodes = [f"{NODE}{fd}" for fd in range(3)]
        if any(end.terminal for end in ends):
            self._terminal = Terminal(kernel, ends, uid)
            nodes = [
                self._terminal.path if end.terminal else node for end, node in zip(ends, nodes, strict=True)
            ]
        task = kernel.tasks.create(Path(path).name, uid)
        try:
            kernel.sched.run(task, _begin(kernel, path, argv, envp, nodes))
        except KernelError:
            kernel.tasks.exit(task)
            self._hang_up()
            raise
        finally:
            with kernel.process(comm="init") as process:
                for fd in range(3):
                    process.unlink(f"{NODE}{fd}")
        kernel.sched.start(task, kernel.user_mode.run(kernel.user_mode.begin(task)))
        return task

    def _make_nodes(self) -> None:
        with self._kernel.process(comm="init") as process:
            process.syscall("umask", 0)
            for fd in range(3):
                with suppress(KernelError):  # it is there
                    process.mknod(f"{NODE}{fd}", S_IFCHR | 0o666, os.makedev(MAJOR, fd))

    def _wait(self, task: Task, time_limit: float | None) -> int:
        """Until it ends: its status as wait(2) gives it."""
        limit = None if time_limit is None else time_limit + _GRACE
        terminal = self._terminal
        look = None if terminal is None else (lambda idle: terminal.look(task, idle=idle))
        self._kernel.sched.wait_for(task, limit, look)
        assert isinstance(task, VmlinuxTask)
        return task.exit_code

    def _running(self) -> list[Task]:
        return [thread.task for thread in self._kernel.user_mode.threads.values()]

    def _kill_all(self) -> None:
        """End all programs, as the end of the machine would."""
        kernel = self._kernel
        if kernel.user_mode.threads:
            kernel.sched.run(kernel.tasks.init, kernel.user_mode.kill_all())
        for _ in range(100):
            if not kernel.user_mode.threads:
                break
            kernel.sched.advance(_GRACE_NS, idle=True)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
            self._terminal = None

    # --- files ----------------------------------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Whether the machine has such a file."""
        with self._kernel.process(comm="init") as process, suppress(KernelError):
            process.stat(path)
            return True
        return False

    def put_file(self, path: str, data: bytes, mode: int = 0o755, *, lent: bool = False) -> None:
        """A file of the machine with these contents; a saved machine has it, too.

        Raises:
            KernelError: ENOSPC and what else writing a file can fail with.
        """
        with self._kernel.process(comm="init") as process:
            process.syscall("umask", 0)
            _put(process, path, BytesIO(data), mode)

    def install_busybox(self, host_path: str | os.PathLike[str]) -> None:
        """Make a static busybox the machine's shell and tools: /bin/busybox, and a link for each applet."""
        data = Path(host_path).read_bytes()
        with self._kernel.process(comm="init") as process:
            process.syscall("umask", 0)
            _put(process, "/bin/busybox", BytesIO(data), 0o755)
            for directory in ("/usr", "/sbin", "/usr/bin", "/usr/sbin"):
                _make_directories(process, directory)
            have = set(process.listdir("/bin"))
            for name in applets(data):
                if name not in have:
                    process.symlink("busybox", f"/bin/{name}")

    def bind(self, host: Path, path: str, mode: str = "") -> None:
        """Copy a file or directory of the host; with `RW`, `give_back` takes it back.

        A directory is not copied with `RO`, but shown.

        Raises:
            KernelError: EINVAL, it is neither; ENOSPC and what else writing can fail with.
        """
        if not host.is_dir() and not host.is_file():
            raise KernelError(errno.EINVAL, f"{host} is no file and no directory: it cannot be copied")
        with self._kernel.process(comm="init") as process:
            process.syscall("umask", 0)
            if host.is_dir() and mode == RO:
                self._show(process, host, path)
            elif host.is_dir():
                _put_directory(process, host, path)
            else:
                _put_file(process, host, path)
                if mode == RO:
                    place, none = process.put(os.fsencode(path) + b"\0"), process.put(b"none\0")
                    process.enter("mount", place, place, none, _MS_BIND, 0)
                    process.enter("mount", none, place, none, _MS_BIND | _MS_REMOUNT | _MS_RDONLY, 0)
        if mode == RW:
            self._lent.append((host, path))

    def bind_sysroot(self, root: Path) -> None:
        """Show the directories of another system's root, read-only, but those that the machine has alive."""
        with self._kernel.process(comm="init") as process:
            process.syscall("umask", 0)
            for name, directory, link in sysroot(root, self.exists):
                if directory is None:
                    process.symlink(link, name)
                else:
                    self._show(process, directory, name)

    def _show(self, process: Process, host: Path, path: str) -> None:
        _make_directories(process, path)
        self._kernel.hostfs.show(host, path)

    def give_back(self) -> None:
        """Write files bound with `RW` back to the host where they differ."""
        with self._kernel.process(comm="init") as process:
            for host, path in self._lent:
                names = [""]
                if host.is_dir():
                    names = ["/" + str(file.relative_to(host)) for file in host.rglob("*") if file.is_file()]
                    names = sorted({*names, *_files(process, path)})
                for name in names:
                    _take_back(process, path + name, Path(f"{host}{name}"))


def _files(process: Process, path: str, inside: str = "") -> list[str]:
    """Regular files below a directory of the machine, by their paths in it."""
    found = []
    for name in process.listdir(path + inside):
        place = f"{inside}/{name}"
        kind = process.stat(path + place, follow_symlinks=False).mode
        if stat.S_ISDIR(kind):
            found += _files(process, path, place)
        elif stat.S_ISREG(kind):
            found.append(place)
    return found


def _take_back(process: Process, path: str, host: Path) -> None:
    """Make a file of the host what the machine's is; it is only touched if it differs."""
    try:
        fd = process.open(path, O_RDONLY)
    except KernelError:  # it was removed
        host.unlink(missing_ok=True)
        return
    size = process.lseek(fd, 0, os.SEEK_END)
    pieces = list(_pieces(process, fd, size))
    process.close(fd)
    if host.exists() and _equal(host, size, pieces):
        return
    host.parent.mkdir(parents=True, exist_ok=True)
    with open(host, "wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def _pieces(process: Process, fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """What a file has between its holes."""
    place = 0
    while place < size:
        try:
            place = process.lseek(fd, place, _SEEK_DATA)
            end = process.lseek(fd, place, _SEEK_HOLE)
        except KernelError:  # there is nothing more
            return
        while place < end:
            data = process.pread(fd, min(end - place, _CHUNK), place)
            yield place, data
            place += len(data)


def _equal(host: Path, size: int, pieces: list[tuple[int, bytes]]) -> bool:
    with open(host, "rb") as file:
        place = 0
        for offset, data in (*pieces, (size, b"")):
            while place < offset:
                hole = file.read(min(offset - place, _CHUNK))
                if not hole or hole.strip(b"\0"):
                    return False
                place += len(hole)
            if file.read(len(data)) != data:
                return False
            place += len(data)
        return not file.read(1)


def _put_directory(process: Process, host: Path, path: str) -> None:
    _make_directories(process, path)
    for entry in sorted(host.iterdir()):
        place = f"{path.rstrip('/')}/{entry.name}"
        if entry.is_symlink():
            process.symlink(os.readlink(entry), place)
        elif entry.is_dir():
            _put_directory(process, entry, place)
        elif entry.is_file():
            _put_file(process, entry, place)


def _make_directories(process: Process, path: str) -> None:
    place = ""
    for name in path.strip("/").split("/"):
        place += f"/{name}"
        if name:
            with suppress(KernelError):
                process.mkdir(place, 0o755)


def _put_file(process: Process, host: Path, path: str) -> None:
    with open(host, "rb") as file:
        _put(process, path, file, stat.S_IMODE(host.stat().st_mode))


def _put(process: Process, path: str, source: BinaryIO, mode: int) -> None:
    """Write a file, with holes where there is nothing but zeros."""
    _make_directories(process, path.rpartition("/")[0])
    fd = process.open(path, O_CREAT | O_TRUNC | O_WRONLY, mode)
    try:
        place = 0
        while data := source.read(_CHUNK):
            if data.strip(b"\0") and process.pwrite(fd, data, place) != len(data):
                raise KernelError(errno.ENOSPC, f"the machine has no room for {path}")
            place += len(data)
        process.enter("ftruncate", fd, place)
        process.chmod(path, mode)
    finally:
        process.close(fd)


async def _begin(
    kernel: VmlinuxKernel, path: str, argv: list[bytes], envp: list[bytes], nodes: list[str]
) -> None:
    """What a new task does before it is the program."""
    strings = [os.fsencode(path), *argv, *envp, *(node.encode() for node in nodes)]
    place = kernel.heap.kmalloc(sum(len(text) + 9 for text in strings) + 16)
    texts: list[int] = []
    end = place + 8 * (len(argv) + len(envp) + 2)
    for text in strings:
        texts.append(end)
        kernel.memory.write(end, text + b"\0")
        end += len(text) + 1
    arguments, environment = texts[1 : 1 + len(argv)], texts[1 + len(argv) : -3]
    pointers = [*arguments, 0, *environment, 0]
    kernel.memory.write(place, struct.pack(f"<{len(pointers)}Q", *pointers))
    await kernel.call_guest(kernel.symbol("ksys_setsid"))
    for fd, (node, flags) in enumerate(zip(texts[-3:], (O_RDONLY, O_RDWR, O_RDWR), strict=True)):
        file = await kernel.call_guest(kernel.symbol("filp_open"), node, flags, 0)
        await kernel.call_guest(kernel.symbol("replace_fd"), fd, file, 0)  # init's was the console
        await kernel.call_guest(kernel.symbol("fput"), file)
    result = await kernel.call_guest_int(
        kernel.symbol("kernel_execve"), texts[0], place, place + 8 * (len(argv) + 1)
    )
    kernel.heap.kfree(place)
    if result < 0:
        raise KernelError(-result, f"{path} cannot be run")
