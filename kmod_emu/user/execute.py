"""Running a program from outside: streams, files it sees, its exit status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.fs.hostfs import HostSuperBlock
from kmod_emu.fs.ramfs import RamInode
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFDIR, S_IFREG
from kmod_emu.user.entry import run_program
from kmod_emu.user.exec import do_execve
from kmod_emu.user.programs import Programs
from kmod_emu.user.signals import SIGKILL, send
from kmod_emu.user.stdio import Stream, attach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kmod_emu.fs.inode import Dentry
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

ENVIRONMENT = {"HOME": "/root", "PATH": "/sbin:/usr/sbin:/bin:/usr/bin", "TERM": "linux"}
_APPLETS = b"\0[\0[[\0"  # how the sorted table of names begins in busybox
STDOUT = -2  # as subprocess has it: descriptor 2 is a copy of 1
_GRACE_NS = 1_000_000_000


class ExecResult(NamedTuple):
    """How a program ended.

    Attributes:
        status: The exit code, or 128 and the signal's number.
        stdout: What it wrote to descriptor 1, where that was not given away.
        stderr: Likewise, 2.
        timed_out: Whether `time_limit` ended it.
        left: The programs that it left behind, by name and pid. They ended, too.
    """

    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    left: tuple[str, ...] = ()


def start(
    kernel: KernelCore,
    path: str,
    argv: list[bytes],
    envp: list[bytes],
    streams: Sequence[Stream],
    uid: int,
) -> Task:
    """A task that becomes a program with these streams."""
    task = kernel.tasks.create(Path(path).name, uid, 0)
    attach(kernel, task, streams)
    kernel.sched.start(task, _life(kernel, task, path, argv, envp))
    return task


async def _life(kernel: KernelCore, task: Task, path: str, argv: list[bytes], envp: list[bytes]) -> int:
    try:
        program = await do_execve(kernel, task, path, argv, envp)
    except KernelError:
        from kmod_emu.fs.open import exit_files

        await exit_files(kernel, task)
        kernel.tasks.bury(task)
        raise
    return await run_program(kernel, program)


def kill_all(kernel: KernelCore) -> None:
    """End all programs, as the end of the machine would."""
    programs = kernel[Programs]
    for program in list(programs.by_pid.values()):
        if program.group.status is None:
            send(kernel, program.task, SIGKILL, code=0x80)
    for _ in range(100):
        if not any(group.threads for group in programs.groups.values()):
            break
        kernel.sched.advance(_GRACE_NS // 100, idle=True)


# --- files ------------------------------------------------------------------------------------------


def make_directories(vfs: Vfs, path: str) -> Dentry:
    """A directory with all its parents."""
    place = ""
    for name in path.strip("/").split("/"):
        if not name:
            continue
        place += f"/{name}"
        try:
            vfs.lookup(place)
        except KernelError:
            vfs.make(place, S_IFDIR | 0o755)
    return vfs.lookup(path)


def put_file(kernel: KernelCore, path: str, data: bytes, mode: int = 0o755, *, lent: bool = False) -> None:
    """A file of the machine with these contents; what was there is replaced.

    Args:
        kernel: The machine.
        path: From its root; directories are made.
        data: The contents.
        mode: The permissions.
        lent: It stays the host's: a saved machine does not have it.
    """
    vfs = kernel[Vfs]
    make_directories(vfs, path.rpartition("/")[0] or "/")
    try:
        inode = vfs.lookup(path).inode
    except KernelError:
        inode = vfs.make(path, S_IFREG | mode).inode
        if isinstance(inode, RamInode):
            inode.lent = lent
    if not isinstance(inode, RamInode) or not inode.is_type(S_IFREG):
        raise KernelError(errno.EEXIST, f"{path} of the machine is no regular file")
    inode.data[:] = data
    inode.mode = S_IFREG | mode
    inode.changed()


def install_busybox(kernel: KernelCore, host_path: str | os.PathLike[str]) -> None:
    """Make a static busybox the machine's shell and tools: /bin/busybox, and a link for each applet.

    They are lent: a machine that is loaded from a file gets them again from whoever uses it.
    """
    vfs, data = kernel[Vfs], Path(host_path).read_bytes()
    put_file(kernel, "/bin/busybox", data, lent=True)
    for directory in ("/usr", "/sbin", "/usr/bin", "/usr/sbin"):
        make_directories(vfs, directory)
    bin_ = vfs.lookup("/bin")
    for name in applets(data):
        if bin_.inode.lookup(bin_, name) is None:
            link = bin_.inode.symlink(bin_, name, "busybox", kernel.tasks.init_task).inode
            assert isinstance(link, RamInode)
            link.lent = True


def applets(data: bytes) -> list[str]:
    """The names that a busybox binary answers to."""
    start = data.find(_APPLETS)
    if start < 0:
        return []
    names = data[start + 1 : data.index(b"\0\0", start + 1)].split(b"\0")
    return [name.decode("ascii", "replace") for name in names]


def bind(kernel: KernelCore, host: Path, path: str, *, read_only: bool = False) -> None:
    """Show a file or directory of the host at a path of the machine."""
    vfs = kernel[Vfs]
    if host.is_dir():
        make_directories(vfs, path)
    else:
        put_file(kernel, path, b"")
    sb = HostSuperBlock(kernel, host, vfs.anonymous_dev(), read_only=read_only)
    vfs.mount("/" + path.strip("/"), sb)


def sysroot(root: Path, exists: Callable[[str], bool]) -> Iterator[tuple[str, Path | None, str]]:
    """What to show of another system's root: where, the host's directory, or where a link leads.

    What the machine has alive is left out.
    """
    for entry in sorted(root.iterdir()):
        if entry.name in ("dev", "proc", "run", "sys", "tmp"):
            continue
        path = f"/{entry.name}"
        if entry.is_symlink() and not exists(path):
            yield path, None, os.readlink(entry)
        elif entry.is_symlink():  # /lib -> usr/lib, where the machine has a directory
            target = root / os.readlink(entry).lstrip("/")
            if target.is_dir() and not target.is_symlink():
                yield path, target, ""
        elif entry.is_dir():
            yield path, entry, ""


def bind_sysroot(kernel: KernelCore, root: Path) -> None:
    """Show the directories of another system's root, read-only."""
    top = kernel[Vfs].lookup("/")
    for path, directory, link in sysroot(root, lambda path: top.inode.lookup(top, path[1:]) is not None):
        if directory is None:
            top.inode.symlink(top, path[1:], link, kernel.tasks.init_task)
        else:
            bind(kernel, directory, path, read_only=True)
