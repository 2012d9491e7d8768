"""User processes as Python sees them: system calls with errors raised, like `os`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, SleepsForever
from kmod_emu.fs.files import File, FileTable
from kmod_emu.fs.tree import FileTree
from kmod_emu.kernel.syscalls import do_syscall, number_of
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_RDONLY
from kmod_emu.user.memory import UserMappings

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from kmod_emu.kernel.kernel import KernelCore


class Process:
    """A process of the machine: a task with user memory and file descriptors.

    Get one from `Kernel.process`. Used as a context manager it exits at the end.

    Args:
        kernel: The machine.
        uid: User id; 0 has all capabilities.
        gid: Group id.
        comm: Its name, cut to 15 bytes in the task_struct.
        capabilities: Capability mask where it differs from what the uid gives.

    >>> from kmod_emu import Kernel
    >>> process = Kernel().process(uid=1000, comm="cat")
    >>> process.syscall("delete_module", 0, 0)  # EPERM: not root
    -1
    """

    def __init__(
        self,
        kernel: KernelCore,
        uid: int = 0,
        gid: int = 0,
        comm: str = "sh",
        capabilities: int | None = None,
    ) -> None:
        self._kernel = kernel
        self.task = kernel.tasks.create(comm, uid, gid, capabilities)
        self.memory = UserMappings(self.task)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.task.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exit()

    def exit(self) -> None:
        """End the process and free what it has; one that an oops killed leaves its task behind."""
        self._kernel[FileTable].forget(self.task)
        if self.task.activations and not self.task.dead:  # killed while it waits
            self._kernel.sched.interrupt(self.task)
            with suppress(KernelError):
                self.wait()
        if not self.task.dead:
            self._kernel.tasks.exit(self.task)
            self.task.dead = True

    # --- user memory --------------------------------------------------------------------------------

    def put(self, data: bytes) -> int:
        """Copy bytes into fresh user memory; returns the address."""
        address = self.memory.map(len(data))
        assert self.task.mm is not None
        self.task.mm.write(address, data)
        return address

    def get(self, address: int, size: int) -> bytes:
        """Read user memory; raises PageFault where nothing is mapped."""
        assert self.task.mm is not None
        return self.task.mm.read(address, size)

    # --- system calls -------------------------------------------------------------------------------

    def syscall(self, call: str | int, *arguments: int) -> int:
        """The raw system call, by name or number: its result, a negative errno on failure.

        Raises:
            Killed: The process died in the kernel.
        """
        try:
            return self._enter(call, *arguments)
        except KernelError as error:
            if self.task.dead:
                raise
            return -error.errno

    def _enter(self, call: str | int, *arguments: int) -> int:
        self._check_alive()
        return int(self._kernel.sched.run(self.task, self._call(call, arguments)))

    def _call(self, call: str | int, arguments: tuple[int, ...]) -> Coroutine[Any, Any, int]:
        number = call if isinstance(call, int) else number_of(call)
        return do_syscall(self._kernel, number, arguments)

    def _check_alive(self) -> None:
        if self.task.dead:
            raise ProcessLookupError(3, "No such process")

    def start(self, call: str | int, *arguments: int) -> None:
        """Enter a system call and do not wait for it: it goes on while other processes run.

        >>> from kmod_emu import Kernel
        >>> process = Kernel().process()
        >>> process.start("delete_module", 0, 0)
        >>> process.wait()
        -14
        """
        self._check_alive()
        self._kernel.sched.start(self.task, self._call(call, arguments))

    def wait(self) -> int:
        """Wait for the system call that `start` entered: its result, a negative errno on failure.

        Raises:
            Killed: The process died in the kernel.
        """
        try:
            return int(self._kernel.sched.wait_for(self.task))
        except KernelError as error:
            if self.task.dead or isinstance(error, SleepsForever):
                raise
            return -error.errno

    def init_module(self, image: bytes, params: str | bytes = "") -> None:
        """init_module(2): load a module from memory.

        Raises:
            KernelError: As the system call fails.
        """
        with _Buffers(self) as buffers:
            self._enter("init_module", buffers.put(image), len(image), buffers.text(params))

    def finit_module(self, image: bytes, params: str | bytes = "", flags: int = 0) -> None:
        """finit_module(2): load a module from a file, here one that holds `image`.

        Raises:
            KernelError: As the system call fails.
        """
        fd = self.memfd(image)
        try:
            with _Buffers(self) as buffers:
                self._enter("finit_module", fd, buffers.text(params), flags)
        finally:
            if not self.task.dead:
                self.close(fd)

    def delete_module(self, name: str | bytes, flags: int = O_NONBLOCK) -> None:
        """delete_module(2).

        Raises:
            KernelError: As the system call fails.
        """
        with _Buffers(self) as buffers:
            self._enter("delete_module", buffers.text(name), flags)

    def memfd(self, data: bytes, flags: int = O_RDONLY) -> int:
        """A descriptor of a regular file with the given contents."""
        return self._kernel[FileTable].install(self.task, File(flags, data))

    def open(self, path: str, flags: int = O_RDONLY, mode: int = 0) -> int:
        """open(2): a descriptor.

        Raises:
            KernelError: As the system call fails.
        """
        with _Buffers(self) as buffers:
            return self._enter("open", buffers.text(path), flags, mode)

    def read(self, fd: int, count: int) -> bytes:
        """read(2): at most `count` bytes.

        Raises:
            KernelError: As the system call fails.
        """
        with _Buffers(self) as buffers:
            address = buffers.put(bytes(count))
            return self.get(address, self._enter("read", fd, address, count))

    def write(self, fd: int, data: bytes) -> int:
        """write(2): how many bytes were written.

        Raises:
            KernelError: As the system call fails.
        """
        with _Buffers(self) as buffers:
            return self._enter("write", fd, buffers.put(data), len(data))

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        """lseek(2): the new position.

        Raises:
            KernelError: As the system call fails.
        """
        return self._enter("lseek", fd, offset, whence)

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, in the order in which getdents(2) gives them.

        Raises:
            KernelError: ENOENT, ENOTDIR.
        """
        return self._kernel[FileTree].listdir(path)

    def close(self, fd: int) -> None:
        """close(2).

        Raises:
            KernelError: EBADF.
        """
        self._enter("close", fd)

    def read_file(self, path: str) -> bytes:
        """Open, read to the end, close.

        Raises:
            KernelError: As the system calls fail.
        """
        fd = self.open(path)
        try:
            pieces = []
            while piece := self.read(fd, 1 << 16):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            self.close(fd)


class _Buffers:
    """User memory for the length of one system call."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._addresses: list[int] = []

    def __enter__(self) -> _Buffers:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._process.task.dead:
            for address in self._addresses:
                self._process.memory.unmap(address)

    def put(self, data: bytes) -> int:
        self._addresses.append(self._process.put(data))
        return self._addresses[-1]

    def text(self, text: str | bytes) -> int:
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return self.put(raw + b"\0")
