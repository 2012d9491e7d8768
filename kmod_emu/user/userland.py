"""What runs programs on a machine and gives them files, behind one interface for every base kernel."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError, SleepsForever
from kmod_emu.fs.vfs import Vfs
from kmod_emu.user import execute
from kmod_emu.user.execute import ENVIRONMENT, STDOUT, ExecResult
from kmod_emu.user.programs import Programs
from kmod_emu.user.signals import SIGKILL
from kmod_emu.user.stdio import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.stdio import HostEnd

RO, RW = "ro", "rw"


class Userland:
    """Programs and files of the stub kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    def execute(
        self,
        path: str,
        argv: Sequence[str | bytes],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | int = b"",
        stdout: int | None = None,
        stderr: int | None = None,
        uid: int = 0,
        time_limit: float | None = None,
    ) -> ExecResult:
        """Run a file of the machine and wait for it; programs that it leaves behind are ended.

        One that sleeps and that nothing will ever wake has used up any `time_limit`.

        Raises:
            KernelError: The file cannot be run.
            SleepsForever: Nothing will ever wake it, and there is no limit.
        """
        programs, given = self._kernel[Programs], bytearray(stdin) if isinstance(stdin, bytes) else None
        ends = [
            self._end(stdin if isinstance(stdin, int) else None, given),
            self._end(stdout),
            self._end(None if stderr == STDOUT else stderr),
        ]
        if stderr == STDOUT:
            ends[2] = ends[1]
        words = [os.fsencode(word) for word in argv]
        variables = [os.fsencode(f"{name}={value}") for name, value in (env or ENVIRONMENT).items()]
        programs.deadline = None if time_limit is None else time.process_time() + time_limit
        programs.out_of_time = False
        task = self._start(path, words, variables, ends, uid)
        programs.foreground = task.pid
        try:
            status = self._wait(task, time_limit)
        except SleepsForever:  # or timers go off for ever, and none of them wakes it
            self._kill_all()
            if time_limit is None:
                raise
            programs.out_of_time, status = True, SIGKILL
            with suppress(SleepsForever):  # one that an oops left in the middle does not even die
                status = self._wait(task, 0)
        left = {self._kernel.tasks.view(task).tgid: task.comm for task in self._running()}
        self._kill_all()
        return ExecResult(
            128 + (status & 0x7F) if status & 0x7F else status >> 8,
            bytes(ends[1].buffer),
            bytes(ends[2].buffer) if stderr != STDOUT else b"",
            programs.out_of_time,
            tuple(f"{comm} (pid {pid})" for pid, comm in left.items()),
        )

    def _end(self, fd: int | None = None, buffer: bytearray | None = None) -> HostEnd:
        """What is outside of a descriptor."""
        return Stream(self._kernel, fd, buffer)

    def _start(self, path: str, argv: list[bytes], envp: list[bytes], ends: list[HostEnd], uid: int) -> Task:
        """A task that runs a program, or is about to."""
        streams = [end for end in ends if isinstance(end, Stream)]
        return execute.start(self._kernel, path, argv, envp, streams, uid)

    def _wait(self, task: Task, time_limit: float | None) -> int:
        """Until it ends: its status as wait(2) gives it. `Programs.deadline` ends one that runs for long."""
        return int(self._kernel.sched.wait_for(task))

    def _running(self) -> list[Task]:
        """Threads of programs."""
        programs = self._kernel[Programs].by_pid.values()
        return [program.task for program in programs if program.group.status is None]

    def _kill_all(self) -> None:
        """End all programs, as the end of the machine would."""
        execute.kill_all(self._kernel)

    def exists(self, path: str) -> bool:
        """Whether the machine has such a file."""
        try:
            self._kernel[Vfs].lookup(path)
        except KernelError:
            return False
        return True

    def put_file(self, path: str, data: bytes, mode: int = 0o755, *, lent: bool = False) -> None:
        """A file of the machine with these contents; `lent` ones are not part of a saved machine."""
        execute.put_file(self._kernel, path, data, mode, lent=lent)

    def install_busybox(self, host_path: str | os.PathLike[str]) -> None:
        """Make a static busybox the machine's shell and tools."""
        execute.install_busybox(self._kernel, host_path)

    def bind(self, host: Path, path: str, mode: str = "") -> None:
        """Show a file or directory of the host; with `RO` it cannot be changed."""
        execute.bind(self._kernel, host, path, read_only=mode == RO)

    def bind_sysroot(self, root: Path) -> None:
        """Show the directories of another system's root."""
        execute.bind_sysroot(self._kernel, root)

    def give_back(self) -> None:
        """Programs have ended: what they changed of files bound with `RW` is the host's now."""
