"""Faults put in: a call that may fail does, as if there were no memory, or the number were taken.

What may fail is what the table of resources lists, the table below, and copies from and to programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.dispatch import is_coroutine
from kmod_emu.kernel.errname import errname
from kmod_emu.sanitize.resources import RESOURCES
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.dispatch import Registers
    from kmod_emu.kernel.exports import Handler
    from kmod_emu.sanitize.ledger import Ledger
    from kmod_emu.sanitize.sites import Site

_COPIES = ("_copy_from_user", "_copy_to_user", "copy_from_user", "copy_to_user")
# What fails too, though nothing has to be given back by name, and what it returns then.
_MORE = {
    **dict.fromkeys(
        (
            "sysfs_create_files", "sysfs_create_link", "sysfs_create_link_nowarn", "sysfs_create_mount_point",
            "sysfs_add_file_to_group", "class_create_file_ns", "device_create_file", "driver_create_file",
            "idr_alloc", "idr_alloc_u32", "idr_alloc_cyclic", "ida_alloc_range", "__xa_alloc", "xa_alloc",
            "radix_tree_insert", "kthread_create_worker", "device_create_bin_file",
            "platform_device_add", "platform_device_add_data", "platform_device_add_resources",
            "devm_add_action", "__devm_add_action", "devm_request_threaded_irq", "misc_register",
        ),
        -errno.ENOMEM,
    ),
    **dict.fromkeys(("gpio_request", "gpio_request_one", "devm_gpio_request"), -errno.EBUSY),
    **dict.fromkeys(("request_firmware", "request_firmware_direct"), -errno.ENOENT),
    "strncpy_from_user": -errno.EFAULT,
    **dict.fromkeys(
        (
            "__alloc_skb", "alloc_skb_with_frags", "__netdev_alloc_skb", "skb_clone", "skb_copy",
            "mempool_create", "input_allocate_device", "devm_input_allocate_device", "platform_device_alloc",
            "devm_kmalloc", "devm_kmemdup", "devm_kstrdup", "devm_kasprintf", "devm_krealloc", "cdev_alloc",
            "usb_alloc_urb", "alloc_netdev_mqs", "alloc_etherdev_mqs",
        ),
        0,
    ),
}  # fmt: skip
# get_user() and put_user(): RAX, or RCX, says what became of it.
_WORDS = {f"__{way}_user_{kind}{size}": register for way, register in (("get", "rax"), ("put", "rcx"))
          for kind in ("", "nocheck_") for size in (1, 2, 4, 8)}  # fmt: skip
_NEVER_FAIL = (  # they return nothing, or whether it was so already
    "add_timer", "add_timer_on", "mod_timer", "timer_reduce", "hrtimer_start_range_ns", "queue_work_on",
    "queue_work_node", "queue_delayed_work_on", "mod_delayed_work_on", "__module_get",
    # ... or have to be put after they failed, for which they must have run
    "call_rcu", "call_rcu_hurry", "device_register", "platform_device_register", "kobject_init_and_add",
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
        taken = {name: row.error for row in RESOURCES for name in row.takes if name not in _NEVER_FAIL}
        self._errors = {**_MORE, **taken, **dict.fromkeys(_WORDS, -errno.EFAULT)}

    def around(self, handler: Handler, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler's function, or one that fails when its turn has come."""
        name = handler.name
        if name not in self._errors and name not in _COPIES:
            return function
        if name in _WORDS:
            return self._around_words(name, function)
        if is_coroutine(function):

            async def wait(kernel: Any, *arguments: Any) -> Any:
                error = self._error(name, arguments)
                return await function(kernel, *arguments) if error is None else error

            return wait

        def call(kernel: Any, *arguments: Any) -> Any:
            error = self._error(name, arguments)
            return function(kernel, *arguments) if error is None else error

        return call

    def _around_words(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """get_user() and put_user(), which hand over registers; a failed one reads 0."""

        def call(kernel: Any, registers: Registers) -> Any:
            error = self._error(name, (), word=True)
            if error is None:
                return function(kernel, registers)
            if name.startswith("__get"):
                registers["rdx"] = 0
            registers[_WORDS[name]] = error
            return None

        return call

    def _error(self, name: str, arguments: tuple[Any, ...], *, word: bool = False) -> int | None:
        """What a call returns instead of doing anything; None where it is to do what it does."""
        stack = self._ledger.sites.callers() if word else self._ledger.sites.stack()
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
