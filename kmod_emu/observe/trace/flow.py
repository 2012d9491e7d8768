"""Following modules' code: an instruction hook on their text, and what it makes of each instruction.

The hook sees modules' own instructions only, so what the base kernel does costs nothing. A call is noticed
where the module makes it, with the arguments in registers, and has returned when the instruction behind it is
reached with the stack as it was. That serves exports of Python and of guest code alike, and calls in between,
of module code by the kernel, nest as they happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kmod_emu.kernel.calltext import symbol_at
from kmod_emu.module.modules import Modules
from kmod_emu.observe.trace.sites import CALL, RETURN, Site, site_at, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.events import Event
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.module.modules import Module

_ERASED = ("__fentry__", "__cfi_", "__pfx_")  # what a compiler calls for others


class Frame:
    """A call that has not returned.

    Attributes:
        name: The function called.
        address: Its address.
        exported: Whether it is the base kernel's, not a module's.
        caller: The instruction that calls, 0 where the base kernel does.
        began: How many instructions had been followed.
    """

    __slots__ = ("address", "after", "began", "caller", "depth", "exported", "name", "rsp", "tail")

    def __init__(self, name: str, address: int, began: int, *, exported: bool, caller: int = 0) -> None:
        self.name, self.address, self.began, self.exported, self.caller = (
            name, address, began, exported, caller,
        )  # fmt: skip
        self.after = self.rsp = 0  # where it returns to, and the stack pointer then
        self.depth = 0  # where it returns to Python: how many activations the task has
        self.tail = False  # whether its caller is done when it is


class FlowListener(Protocol):
    """Who is told."""

    def entered(self, task: Task, frame: Frame) -> None:
        """A call begins; the registers are as it finds them."""

    def left(self, task: Task, frame: Frame, result: int | None) -> None:
        """It has returned, with RAX; None where it never did."""


class Flow:
    """The calls of all modules that are loaded from now on.

    Attributes:
        counts: How often each instruction was executed, by address.
        followed: How many that were.
        told: How many that were when something was last told. Code that never returns is ended by chance, so
            what it did since then is not counted.
        modules: By name, the file that each was loaded from and where its sections were, init's too.
    """

    def __init__(self, kernel: KernelCore, listener: FlowListener) -> None:
        self._kernel, self._listener = kernel, listener
        self.counts: dict[int, int] = {}
        self.followed = self.told = 0
        self.modules: dict[str, tuple[bytes, list[tuple[str, int, int]]]] = {}
        self._stacks: dict[int, tuple[Task, list[Frame]]] = {}  # by pid
        self._calling: dict[int, Frame] = {}  # by pid: a call of a function that is followed, not entered yet
        self._sites: dict[int, Site | None] = {}
        self._starts: dict[int, str] = {}
        self._returns: set[int] = set()
        self._hooks: dict[str, list[Callable[[], None]]] = {}
        self._last = 0  # the instruction that was executed last
        kernel.events.listen(self._event)

    # --- which code ---------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        if event.name == "complete_formation":
            module = self._kernel[Modules].find(event.detail["name"])
            if module is not None:
                self._follow(module)
        elif event.name == "free_module":
            for remove in self._hooks.pop(event.detail["name"], ()):
                remove()
            self._sites.clear()
        elif event.name == "guest_return":
            self._last = 0
            self._returned(event.detail["value"])
        elif event.name == "lockup":
            self.followed = self.told
        elif event.name in ("oops", "soft lockup", "unimplemented", "panic"):
            self._abandon(self._kernel.sched.current)

    def _follow(self, module: Module) -> None:
        self.modules[module.name] = module.file, list(module.sections)
        for region in module.regions.values():
            if region.code_size:
                end = region.base + region.code_size - 1
                hook = self._kernel.cpu.follow(region.base, end, self._step)
                self._hooks.setdefault(module.name, []).append(hook)
        for address, letter, name in module.symbols:
            if letter in "tT" and name and ".cold" not in name and not name.startswith(_ERASED):
                self._starts.setdefault(address, name)

    # --- each instruction ---------------------------------------------------------------------------

    def _step(self, address: int) -> None:
        if address == self._last:  # the next round of a `rep`, which may be told or not
            return
        self._last = address
        self.followed += 1
        self.counts[address] = self.counts.get(address, 0) + 1
        if address in self._returns:
            self._reached(address)
        if address in self._starts:
            self._enter(address)
        try:
            site = self._sites[address]
        except KeyError:
            site = self._sites[address] = site_at(self._kernel, address)
        if site is not None:
            self._leave(site)

    def _stack(self) -> tuple[Task, list[Frame]]:
        task = self._kernel.sched.current
        known = self._stacks.get(task.pid)
        if known is None or known[0] is not task:
            known = self._stacks[task.pid] = task, []
        return known

    def _enter(self, address: int) -> None:
        """A function of a module begins."""
        task, stack = self._stack()
        frame = self._calling.pop(task.pid, None)
        if frame is None or frame.address != address:
            frame = Frame(self._starts[address], address, self.followed - 1, exported=False)
            frame.depth = len(task.activations)
        self._push(task, stack, frame)

    def _leave(self, site: Site) -> None:
        """Control is about to leave the function that runs, for good or not."""
        task, stack = self._stack()
        if site.kind == RETURN:
            while stack and stack[-1].exported:  # one that never came back
                self._pop(task, stack, None)
            if stack:
                self._pop(task, stack, self._kernel.cpu.read("rax"))
            return
        target = target_of(self._kernel, site)
        if target is None or (site.kind != CALL and not self._is_function(target)):
            return
        name = self._starts.get(target) or symbol_at(self._kernel, target) or hex(target)
        if name.startswith(_ERASED):
            return
        exported = target not in self._starts
        frame = Frame(name, target, self.followed, exported=exported, caller=site.address)
        if site.kind == CALL:
            frame.after, frame.rsp = site.after, self._kernel.cpu.read("rsp")
            self._returns.add(site.after)
        elif stack:
            caller = stack[-1]
            frame.tail, frame.after, frame.rsp, frame.depth = True, caller.after, caller.rsp, caller.depth
        if exported:
            self._push(task, stack, frame)
        else:
            self._calling[task.pid] = frame

    def _is_function(self, target: int) -> bool:
        """Whether a jump leads into another function: it is a call then, whose caller is done."""
        return target in self._starts or self._kernel[Modules].holding(target) is None

    # --- the stack of calls -------------------------------------------------------------------------

    def _push(self, task: Task, stack: list[Frame], frame: Frame) -> None:
        stack.append(frame)
        self.told = self.followed
        self._listener.entered(task, frame)

    def _pop(self, task: Task, stack: list[Frame], result: int | None) -> None:
        """The innermost call returns, and whoever ended in it."""
        tail = True
        while tail and stack:
            frame = stack.pop()
            tail = frame.tail
            self._listener.left(task, frame, result)

    def _reached(self, address: int) -> None:
        """The instruction behind a call: the call whose stack this is has returned."""
        task, stack = self._stack()
        if not any(frame.after == address for frame in stack):
            return
        rsp = self._kernel.cpu.read("rsp")
        if any(frame.after == address and frame.rsp == rsp for frame in stack):
            result = self._kernel.cpu.read("rax")
            while stack and any(frame.after == address and frame.rsp == rsp for frame in stack):
                self._pop(task, stack, result)

    def _returned(self, value: int) -> None:
        """A function that Python called has returned: the outermost one, if it ended in an export."""
        task, stack = self._stack()
        if stack and stack[-1].exported and stack[-1].depth == len(task.activations):
            self._pop(task, stack, value)

    def _abandon(self, task: Task) -> None:
        """The task died in the middle of what it did."""
        _, stack = self._stacks.pop(task.pid, (task, []))
        while stack:
            self._listener.left(task, stack.pop(), None)

    def finish(self) -> None:
        """What is still open never returned."""
        for task, _ in list(self._stacks.values()):
            self._abandon(task)
