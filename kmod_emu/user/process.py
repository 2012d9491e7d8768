"""User processes as Python sees them: system calls with errors raised, like `os`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.fs.open import exit_files
from kmod_emu.fs.vfs import Vfs
from kmod_emu.html import table
from kmod_emu.kernel.panic import SIGKILL, believed, die
from kmod_emu.kernel.syscalls import do_syscall, number_of
from kmod_emu.uapi.fcntl import O_NONBLOCK
from kmod_emu.user.files import Buffers, FileCalls
from kmod_emu.user.memory import UserMappings
from kmod_emu.user.mmap import close_mappings
from kmod_emu.user.proc_pid import leads_to
from kmod_emu.user.sockets import SocketCalls

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

_MAX_ERRNO = 4095

_LAST_WAIT = 0.2  # seconds of processor time for a killed process to leave the kernel


def comes_back(kernel: KernelCore, task: Task) -> bool:
    """Let a process that is to end leave the kernel, if it is there; False if no signal reaches it."""
    if task.activations:
        kernel.tasks.kill(task)
        with suppress(KernelError):
            kernel.sched.wait_for(task, _LAST_WAIT)
    return not task.activations


def close_all(kernel: KernelCore, task: Task) -> None:
    """A process ends: unmap and close all it has."""

    async def last_steps() -> None:
        if task.mm is not None and task.mm.users == 1:
            await close_mappings(kernel, task.mm)
        await exit_files(kernel, task)

    with suppress(KernelError):
        kernel.sched.run(task, last_steps())


class Process(FileCalls, SocketCalls):
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
        self.kernel = kernel
        with believed():
            self.task = kernel.tasks.create(comm, uid, gid, capabilities)
        self.memory = UserMappings(self.task)

    @property
    def pid(self) -> int:
        """Process id."""
        return self.task.pid

    def _repr_html_(self) -> str:
        """For notebooks: who it is, and what it has open."""
        task, files = self.task, self.kernel[Vfs].tables.get(self.pid)
        state = "has ended" if task.dead else "lives"
        opened = sorted(files.files.items()) if files is not None else []
        return table(f"Process {self.pid} ({task.comm}), uid {task.uid}, {state}", (), ()) + table(
            "", ("descriptor", "file"), ((fd, leads_to(file)) for fd, file in opened)
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exit()

    def exit(self) -> None:
        """End the process and free what it has; one that an oops killed leaves its task behind."""
        if not self.task.dead and not comes_back(self.kernel, self.task):
            self.task.dead = True  # it stays where it is, with all it has
        if not self.task.dead:
            self._close_all()
        if not self.task.dead:
            with believed():
                self.kernel.tasks.exit(self.task)
            self.task.dead = True

    def _close_all(self) -> None:
        """do_exit() unmaps and closes all, also after an oops."""
        close_all(self.kernel, self.task)

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
            return self.enter(call, *arguments)
        except KernelError as error:
            if self.task.dead:
                raise
            return -error.errno

    def enter(self, call: str | int, *arguments: int) -> int:
        """A system call: its result.

        Raises:
            KernelError: The errno it fails with.
            Killed: The process died in the kernel.
        """
        self._check_alive()
        try:
            result = self.kernel.sched.run(self.task, self._call(call, arguments))
            if result is None:
                die(self.kernel, self.task, SIGKILL, "oops", "the kernel ended its caller, and says why")
            result = int(result)
        except Killed:
            self._close_all()
            raise
        if -_MAX_ERRNO <= result < 0:
            raise KernelError(-result)
        return result

    def _call(self, call: str | int, arguments: tuple[int, ...]) -> Coroutine[Any, Any, int]:
        number = call if isinstance(call, int) else number_of(call, self.kernel)
        return do_syscall(self.kernel, number, arguments)

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
        self.kernel.sched.start(self.task, self._call(call, arguments))

    def wait(self) -> int:
        """Wait for the system call that `start` entered: its result, a negative errno on failure.

        Raises:
            Killed: The process died in the kernel.
        """
        try:
            return int(self.kernel.sched.wait_for(self.task, self.kernel.cpu.watchdog.limit))
        except KernelError as error:
            if self.task.dead or isinstance(error, SleepsForever):
                raise
            return -error.errno

    def init_module(self, image: bytes, params: str | bytes = "") -> None:
        """init_module(2): load a module from memory.

        Raises:
            KernelError: As the system call fails.
        """
        with Buffers(self) as buffers:
            self.enter("init_module", buffers.put(image), len(image), buffers.text(params))

    def finit_module(self, image: bytes, params: str | bytes = "", flags: int = 0) -> None:
        """finit_module(2): load a module from a file, here one that holds `image`.

        Raises:
            KernelError: As the system call fails.
        """
        fd = self.memfd(image)
        try:
            with Buffers(self) as buffers:
                self.enter("finit_module", fd, buffers.text(params), flags)
        finally:
            if not self.task.dead:
                self.close(fd)

    def delete_module(self, name: str | bytes, flags: int = O_NONBLOCK) -> None:
        """delete_module(2).

        Raises:
            KernelError: As the system call fails.
        """
        with Buffers(self) as buffers:
            self.enter("delete_module", buffers.text(name), flags)
