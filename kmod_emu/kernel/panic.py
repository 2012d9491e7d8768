"""The machine stops for good (kernel/panic.c)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from kmod_emu.errors import Killed
from kmod_emu.kernel import report
from kmod_emu.kernel.notifier_chain import call_chain, chain_place
from kmod_emu.kernel.taint import Taint
from kmod_emu.machine.memory import PageFault
from kmod_emu.text import tame

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task

SIGKILL = 9
_PANIC_TEXT = 1024


class GuestFirst(Exception):
    """Guest code has to run before the task ends.

    Attributes:
        work: The coroutine that runs it, and ends the task or returns where guest code goes on.
    """

    def __init__(self, work: Coroutine[Any, Any, int]) -> None:
        self.work = work


class Panics:
    """The last thing that happens on a machine.

    Attributes:
        text: Why it stopped; "" while it runs.
        deferring: Whether whoever handles a fault can run a coroutine (`GuestFirst`).
    """

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.text = ""
        self.deferring = False

    def deferred(self, step: Callable[[], int]) -> int | Coroutine[Any, Any, int]:
        """Do a step of handling a fault: what it returns, or the coroutine that is to run first."""
        self.deferring = True
        try:
            return step()
        except GuestFirst as first:
            return first.work
        finally:
            self.deferring = False

    def panic(self, text: str) -> NoReturn:
        """Stop. Notifiers of modules are called where guest code can be.

        Raises:
            Killed: Always; for every later system call too.
            GuestFirst: In a deferred step, when there are notifiers.
        """
        kernel = self._kernel
        self.text = text
        kernel.printk.say([(0, f"Kernel panic - not syncing: {text}")])
        if not kernel.taint.test(Taint.DIE):
            report.dump_stack(kernel)
        kernel.printk.say([(0, "Kernel Offset: disabled")])
        if self.deferring and kernel.memory.read_u64(chain_place(kernel, "panic")):
            raise GuestFirst(self._tell())
        self._end()

    def check(self) -> None:
        """Before a system call.

        Raises:
            Killed: The machine has stopped.
        """
        if self.text:
            self._kernel.sched.current.dead = True
            sentence = f"the machine has stopped: kernel panic: {self.text}; `kmod-emu boot` starts another"
            raise Killed(SIGKILL, tame(sentence))

    async def panic_told(self, text: str) -> int:
        """As `panic`, from a coroutine."""
        return await self.finish(lambda: self.panic(text))

    async def finish(self, step: Callable[[], int]) -> int:
        """Do a last step from a coroutine."""
        work = self.deferred(step)
        return work if isinstance(work, int) else await work

    async def _tell(self) -> int:
        kernel = self._kernel
        words = kernel.heap.kmalloc(_PANIC_TEXT)
        if words:
            text = self.text.encode("utf-8", "surrogateescape")[: _PANIC_TEXT - 1]
            kernel.memory.write(words, text + b"\0")
        await call_chain(kernel, chain_place(kernel, "panic"), 0, words)
        self._end()

    def _end(self) -> NoReturn:
        kernel, text = self._kernel, self.text
        kernel.printk.say([(0, f"---[ end Kernel panic - not syncing: {text} ]---")])
        die(kernel, kernel.sched.current, SIGKILL, "panic", f"kernel panic: {text}")

    def save(self) -> Any:
        """State for a snapshot or file."""
        return self.text

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.text = state


def die(kernel: KernelCore, task: Task, signal: int, kind: str, sentence: str) -> NoReturn:
    """End a task, with a sentence for a person.

    Raises:
        Killed: Always.
    """
    task.dead = True
    kernel.findings.note(kind, sentence)
    kernel.events.emit(kind, text=sentence)
    raise Killed(signal, tame(sentence))


def confused(kernel: KernelCore, function: str, error: Exception) -> NoReturn:
    """A function of Python's cannot do anything with what it was given: its caller is ended.

    Raises:
        Killed: Always.
    """
    task = kernel.sched.current
    called = kernel.findings.caller_of(task)
    what = f"{function}() makes nothing of what it is given: {error or type(error).__name__}"
    try:
        die(kernel, task, SIGKILL, "nonsense", f"{what}{f', at {called}' if called else ''}")
    except Killed as death:
        raise death from error


@contextmanager
def believed() -> Iterator[None]:
    """While Python, for nobody in the machine, follows what is in guest memory.

    Raises:
        Killed: It leads nowhere: a module has overwritten what is the kernel's.
    """
    try:
        yield
    except PageFault as fault:
        sentence = f"a module has overwritten the kernel's data: they lead to {fault.address:#x}"
        raise Killed(SIGKILL, sentence) from fault
