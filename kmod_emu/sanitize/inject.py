"""Faults put in: a call that may fail does, as if there were no memory, or the number were taken.

What may fail is what the table of resources lists, and copies from and to programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.dispatch import is_coroutine
from kmod_emu.kernel.errname import errname
from kmod_emu.sanitize.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.exports import Handler
    from kmod_emu.sanitize.ledger import Ledger
    from kmod_emu.sanitize.sites import Site

_COPIES = ("_copy_from_user", "_copy_to_user", "copy_from_user", "copy_to_user")
_NEVER_FAIL = (  # they return nothing, or whether it was so already
    "add_timer", "add_timer_on", "mod_timer", "timer_reduce", "hrtimer_start_range_ns", "queue_work_on",
    "queue_work_node", "queue_delayed_work_on", "mod_delayed_work_on", "__module_get",
)  # fmt: skip


class Fault(NamedTuple):
    """A call that was made to fail.

    Attributes:
        call: The function.
        site: Who called it.
        error: What it returned: 0 is NULL; a copy returns how much it did not copy.
    """

    call: str
    site: Site
    error: int

    @property
    def returned(self) -> str:
        """The same in words."""
        if self.error < 0:
            return f"-{errname(-self.error)}"
        return f"{self.error}: nothing was copied" if self.error else "NULL"


class Injector:
    """Counts modules' calls that may fail, and makes one fail.

    Attributes:
        nth: Which, from 1; 0 for none.
        count: How many there were.
        fault: The one that was made to fail.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.nth = self.count = 0
        self.fault: Fault | None = None
        self._errors = {name: row.error for row in RESOURCES for name in row.takes if name not in _NEVER_FAIL}

    def around(self, handler: Handler, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler's function, or one that fails when its turn has come."""
        name = handler.name
        if name not in self._errors and name not in _COPIES:
            return function
        if is_coroutine(function):

            async def wait(kernel: Any, *arguments: Any) -> Any:
                error = self._error(name, arguments)
                return await function(kernel, *arguments) if error is None else error

            return wait

        def call(kernel: Any, *arguments: Any) -> Any:
            error = self._error(name, arguments)
            return function(kernel, *arguments) if error is None else error

        return call

    def _error(self, name: str, arguments: tuple[Any, ...]) -> int | None:
        """What a call returns instead of doing anything; None where it is to do what it does."""
        stack = self._ledger.sites.stack()
        if not stack:
            return None
        self.count += 1
        if self.count != self.nth:
            return None
        error = arguments[2] if name in _COPIES else self._errors[name]
        self.fault = Fault(name, stack[0], error)
        return int(error)

    def arm(self, nth: int) -> None:
        """Count from the beginning, and let the nth fail."""
        self.nth, self.count, self.fault = nth, 0, None
