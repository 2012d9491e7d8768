"""request_module(): the kernel has user space load a module.

Linux 2.4 does it itself: it starts modprobe and waits (kernel/kmod.c). Linux 2.0 had a daemon for that,
kerneld: the kernel put a message on a queue, the daemon took it off, ran modprobe and answered by another
message (ipc/msg.c: kerneld_send). A machine works the old way once kerneld has been started on it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.fs.open import exit_files
from kmod_emu.kernel.activation import Block
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.kmod.errors import ToolError
from kmod_emu.uapi import errno
from kmod_emu.user.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_emu.classic.program import Program
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

MAX_MODPROBES = 50
_COMPLAINTS = 5  # how often a loop is reported
_MODPROBE = "/sbin/modprobe"
_ALARM = "kerneld"
KERNELD_REQUEST_MODULE = 1


class Message(NamedTuple):
    """One message of the kernel's to kerneld; the answer's type is its id."""

    type: int
    id: int
    text: str


class Daemon(NamedTuple):
    """kerneld's options.

    Attributes:
        delay: Seconds without a request after which modules that nobody uses go.
        keep: They stay.
    """

    delay: int = 60
    keep: bool = False


class ModuleLoader:
    """Who loads modules that the kernel asks for.

    Attributes:
        directory: The machine's /lib/modules/2.4.32 on the host; None for that of the samples.
        daemon: kerneld, where it runs.
    """

    def __init__(self, kernel: KernelCore, directory: str | None) -> None:
        self._kernel = kernel
        self.directory = directory
        self.daemon: Daemon | None = None
        self._ticket = 0  # of the alarm
        self._running = self._complaints = 0
        self.queue: list[Message] = []  # what kerneld has not read yet
        self._sent = 0
        self._askers: dict[int, Task] = {}  # by the message's id
        self._answers: dict[int, int] = {}  # likewise
        self._loading: dict[str, Task] = {}  # what kerneld's children load: who asks for it too, waits too
        kernel.request_module = self.request
        kernel.sched.on(_ALARM, self._alarm)

    async def request(self, name: str) -> int:
        """request_module(): 0, or with kerneld what modprobe ended with; negative if nobody was asked."""
        kernel = self._kernel
        asker = kernel.sched.current
        kernel.events.emit(
            "classic_request_module",
            name=name,
            comm=asker.comm,
            pid=asker.pid,
            daemon=self.daemon is not None,
        )
        if self.daemon is not None:
            return await self._send(name)
        if self._running >= MAX_MODPROBES:
            if self._complaints < _COMPLAINTS:
                kernel.printk.emit("kmod: runaway modprobe loop assumed and stopped\n", 3)
            self._complaints += 1
            return -errno.ENOMEM
        program = kernel.sysctl["modprobe"]
        if program != _MODPROBE:
            kernel.printk.emit(f"kmod: failed to exec {program} -s -k {name}, errno = {errno.ENOENT}\n", 3)
            return 0
        self._running += 1
        task = self._start("modprobe", partial(self._modprobe, name, f"{_MODPROBE} -s -k -- {name}"))
        status = await self._wait(task)
        self._running -= 1
        kernel.events.emit("classic_request_done", name=name, pid=task.pid, status=status, result=0)
        return 0

    # --- kerneld --------------------------------------------------------------------------------------------

    async def _send(self, name: str) -> int:
        """kerneld_send(): a message on the queue, and the daemon's answer."""
        kernel, asker = self._kernel, self._kernel.sched.current
        self._sent += 1
        message = Message(KERNELD_REQUEST_MODULE, self._sent, name)
        self.queue.append(message)
        self._askers[message.id] = asker
        kernel.events.emit("classic_kerneld_send", **message._asdict(), pid=asker.pid)
        self._start("kerneld", self._read_queue)
        while message.id not in self._answers:
            await Block()
        return self._answers.pop(message.id)

    async def _read_queue(self, program: Program) -> int:
        """What kerneld does when a message comes: a child runs modprobe, unless one does so already."""
        while self.queue:
            message = self.queue.pop(0)
            self.arm()
            name = message.text
            child = self._loading.get(name)
            shared = child is not None
            if child is None:
                command = f"{_MODPROBE} -k -s {name}"
                child = self._start("modprobe", partial(self._modprobe, name, command))
                self._loading[name] = child
            program.tell(
                "classic_kerneld_receive", id=message.id, text=name, pid=program.process.pid,
                child=child.pid, shared=shared,
            )  # fmt: skip
            child.watchers.append(partial(self._answer, message, child))
        return 0

    def _answer(self, message: Message, child: Task) -> None:
        """A child has ended: kerneld sends its status to who asked."""
        self._loading.pop(message.text, None)
        status = self._answers[message.id] = _status(child)
        self._kernel.events.emit("classic_kerneld_answer", id=message.id, status=status, text=message.text)
        self._kernel.sched.wake(self._askers.pop(message.id))

    def arm(self) -> None:
        """alarm(delay): from now on."""
        if self.daemon is None:
            return
        sched = self._kernel.sched
        sched.agenda.cancel(self._ticket)
        if not self.daemon.keep:
            due = self._kernel.clock.now_ns + self.daemon.delay * NSEC_PER_SEC
            self._ticket = sched.agenda.post(due, _ALARM)

    async def _alarm(self, payload: object) -> None:
        """Nothing was asked for in a while: kerneld removes what nobody uses, as rmmod -a does."""
        if self.daemon is None:
            return
        self.arm()
        if not self._loading:
            self._start("kerneld", self._sweep)

    async def _sweep(self, program: Program) -> int:
        program.tell("classic_kerneld_timer", pid=program.process.pid)
        await program.call("delete_module", 0)
        return 0

    # --- programs -------------------------------------------------------------------------------------------

    def _start(self, comm: str, work: Callable[[Program], Coroutine[Any, Any, int]]) -> Task:
        """A program begins to run; its task, whose result is the status, is gone soon after it has ended."""
        from kmod_emu.classic.program import Program

        process = Process(self._kernel, comm=comm)
        self._kernel.sched.start(process.task, _main(Program(process), work))
        process.task.watchers.append(
            lambda: self._kernel.sched.at(self._kernel.clock.now_ns, partial(_bury, process))
        )
        return process.task

    async def _wait(self, task: Task) -> int:
        """Until a program has ended: its status, or the signal that killed it."""
        asker = self._kernel.sched.current
        task.watchers.append(lambda: self._kernel.sched.wake(asker))
        while not task.finished:
            await Block()
        return _status(task)

    async def _modprobe(self, name: str, command: str, program: Program) -> int:
        from kmod_emu.classic import conf
        from kmod_emu.classic.modprobe import Options, Prober
        from kmod_emu.classic.tool import syslog_report

        program.tell("classic_modprobe", command=command, pid=program.process.pid)
        config = await conf.read_config(program, None)
        report = syslog_report(self._kernel, "modprobe")
        try:
            return await Prober(program, report, Options(autoclean=True), config).load([name])
        except ToolError as error:
            report.failed(error)
            return error.status

    # --- state ----------------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file."""
        daemon = list(self.daemon) if self.daemon is not None else None
        return {"directory": self.directory, "daemon": daemon, "ticket": self._ticket}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.directory, self._ticket = state["directory"], state["ticket"]
        self.daemon = Daemon(*state["daemon"]) if state["daemon"] is not None else None
        self._running = 0
        for table in (self.queue, self._askers, self._answers, self._loading):
            table.clear()


async def _main(program: Program, work: Callable[[Program], Coroutine[Any, Any, int]]) -> int:
    """A program from its start to its end; what it says goes to nobody."""
    try:
        status = await work(program)
    except Killed:
        raise
    except (KernelError, ToolError):
        status = 1
    await exit_files(program.kernel, program.process.task)
    return status


def _status(task: Task) -> int:
    """What a program ended with, or the signal that killed it."""
    try:
        return int(task.take_result())
    except Killed as death:
        return death.signal


def _bury(process: Process) -> None:
    """Free the task of a program that has ended; one that an oops killed stays, as everywhere."""
    if not process.task.dead:
        process.kernel.tasks.exit(process.task)
        process.task.dead = True


async def request_module(kernel: KernelCore, module_name: bytes) -> int:
    """Have a module loaded by its name or an alias (kernel/kmod.c)."""
    return await kernel[ModuleLoader].request(os.fsdecode(module_name))


EXPORTS: dict[str, Callable[..., Any]] = {"int request_module(const char *module_name)": request_module}
