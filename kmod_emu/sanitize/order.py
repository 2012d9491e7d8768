"""Things that are used before they were prepared: cdev_add() before cdev_init(), and the like.

What nobody has prepared is told by what is in it: nothing but zeros, or a list that leads nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.dispatch import is_coroutine
from kmod_emu.kernel.lockdep import MUTEX
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.exports import Handler
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.sanitize.sites import Sites

_MAX_ERRNO, _MASK64 = 4095, (1 << 64) - 1
_CALL, _CALL_SIZE = 0xE8, 5


class Rule(NamedTuple):
    """What a function has to be given.

    Attributes:
        argument: Which of its arguments.
        kind: What that is.
        first: The call that has to come before.
        raw: Whether nobody has prepared it.
    """

    argument: int
    kind: str
    first: str
    raw: Callable[[KernelCore, int], bool]


def _zeros(name: str) -> Callable[[KernelCore, int], bool]:
    """Whether a structure holds nothing."""

    def raw(kernel: KernelCore, address: int) -> bool:
        return not any(kernel.memory.read(address, kernel.profile.struct(name).size))

    return raw


def _no_kobject(kernel: KernelCore, address: int) -> bool:
    return not kernel.view("kobject", address).bit("state_initialized")


def _no_class(kernel: KernelCore, address: int) -> bool:
    return address == 0 or address > _MASK64 - _MAX_ERRNO


def _no_function(kernel: KernelCore, tasklet: int) -> bool:
    return not kernel.view("tasklet_struct", tasklet).func


def _rules() -> dict[str, Rule]:
    cdev = Rule(0, "cdev", "cdev_init() or cdev_alloc()", _no_kobject)
    timer = Rule(0, "timer", "timer_setup()", _zeros("timer_list"))
    hrtimer = Rule(0, "hrtimer", "hrtimer_init()", _zeros("hrtimer"))
    work = Rule(2, "work_struct", "INIT_WORK()", _zeros("work_struct"))
    class_ = Rule(0, "class", "class_create(), and see whether it succeeds,", _no_class)
    return {
        "cdev_add": cdev,
        "cdev_device_add": cdev,
        "cdev_del": cdev,
        **dict.fromkeys(("del_timer", "del_timer_sync", "timer_delete", "timer_delete_sync"), timer),
        **dict.fromkeys(("hrtimer_start_range_ns", "hrtimer_cancel", "hrtimer_try_to_cancel"), hrtimer),
        **dict.fromkeys(("queue_work_on", "queue_delayed_work_on", "mod_delayed_work_on"), work),
        **dict.fromkeys(("device_create", "device_create_with_groups"), class_),
        "device_add": Rule(0, "device", "device_initialize()", _no_kobject),
        "kobject_add": Rule(0, "kobject", "kobject_init()", _no_kobject),
        **dict.fromkeys(
            ("__tasklet_schedule", "__tasklet_hi_schedule"),
            Rule(0, "tasklet", "tasklet_setup()", _no_function),
        ),
    }


class OrderChecker:
    """Looks at what calls are given, before they run."""

    def __init__(self, kernel: KernelCore, sites: Sites) -> None:
        self._kernel, self._sites, self._rules = kernel, sites, _rules()
        self._told: set[tuple[str, int]] = set()  # (what has to come before, thing)

    def around(self, handler: Handler, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler's function, or one that is checked before."""
        if handler.name == "lock_acquire" and self._kernel.profile.has("mutex.wait_list"):
            return self._around_locks(function)
        rule = self._rules.get(handler.name)
        if rule is None:
            return function
        name = handler.name

        def look(arguments: tuple[Any, ...]) -> None:
            value = arguments[rule.argument]
            self._check(name, rule, int(getattr(value, "address", value)))

        if is_coroutine(function):

            async def wait(kernel: KernelCore, *arguments: Any) -> Any:
                look(arguments)
                return await function(kernel, *arguments)

            return wait

        def call(kernel: KernelCore, *arguments: Any) -> Any:
            look(arguments)
            return function(kernel, *arguments)

        return call

    def _check(self, name: str, rule: Rule, address: int) -> None:
        try:
            raw = rule.raw(self._kernel, address)
        except (
            PageFault,
            LookupError,
        ):  # a pointer to nowhere shows by itself; a structure not of this release
            return
        if raw and (rule.first, address) not in self._told and self._sites.direct:
            self._tell(name, rule.kind, rule.first, address)

    def _tell(self, name: str, kind: str, first: str, address: int) -> None:
        self._told.add((first, address))
        stack, sites = self._sites.stack(), self._sites
        text = (
            f"{name}() at {sites.place(stack[0])} is given a {kind} that nobody prepared: call {first} before"
        )
        self._kernel.findings.note("wrong order", text, {"access": [sites.show(site) for site in stack]})

    def _around_locks(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The base kernel's code for locks says which lock is to be taken, of which kind and for whom."""
        memory = self._kernel.memory
        waiters = self._kernel.profile.offset("mutex", "wait_list")

        def call(kernel: KernelCore, lock: int, kind: int, ip: int) -> Any:
            if kind == MUTEX and not memory.read_u64(lock + waiters):
                self._check_mutex(lock, ip)
            return function(kernel, lock, kind, ip)

        return call

    def _check_mutex(self, lock: int, ip: int) -> None:
        """A mutex without list of waiters; other locks of its kind have none."""
        code = self._kernel.memory.read(ip - _CALL_SIZE, _CALL_SIZE)
        target = ip + int.from_bytes(code[1:], "little", signed=True)
        name = self._kernel.describe(target).partition("+")[0]
        ours = code[0] == _CALL and name.startswith("mutex_lock") and ("mutex_init()", lock) not in self._told
        if ours and self._sites.stack():
            self._tell(name, "mutex", "mutex_init()", lock)
