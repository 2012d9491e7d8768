"""What modules take from the kernel and have to give back: which calls, and how they name the thing.

One row a kind. Leaks, calls that undo what is not there, and faults that are put in all read this table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import kmod_emu.handlers  # noqa: F401 - whose import fills families()
from kmod_emu.drivers.families.buses import BUSES
from kmod_emu.drivers.registration import Registrations, families
from kmod_emu.kernel.exports import symbol_name
from kmod_emu.kernel.kthread import Ask
from kmod_emu.kernel.notifier_chain import CHAIN_CALLS
from kmod_emu.kernel.pages import page_to_virt
from kmod_emu.machine.memory import PAGE_MASK, PageFault
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.drivers.registration import Family
    from kmod_emu.kernel.kernel import KernelCore

    # (kernel, arguments, result) -> the numbers by which calls name a thing
    Key = Callable[[KernelCore, tuple[Any, ...], int], tuple[int, ...]]
    Alive = Callable[[KernelCore, int], bool]

MINOR_BITS = 20
_ARRAY_OF_PAGES = ("__alloc_pages", "alloc_pages")


class Resource(NamedTuple):
    """A kind of thing.

    Attributes:
        kind: As a sentence has it behind a number: "heap object".
        undo: The call that gives it back, for the sentence.
        takes: Functions that make one, and how to name it then.
        gives: Functions that end one.
        error: What a call that makes one returns when it fails: 0 is NULL.
        alive: Whether it is still there, where it also ends by itself.
        memory: Whether it ends when the memory at its address is freed.
        strict: Whether ending what is not there is a bug of the caller's.
        once: Whether ending it twice is.
        function: What it will call.
    """

    kind: str
    undo: str
    takes: dict[str, Key]
    gives: dict[str, Key] = {}  # noqa: RUF012 - a constant
    error: int = -errno.ENOMEM
    alive: Alive | None = None
    memory: bool = False
    strict: bool = False
    once: bool = False
    function: Callable[[KernelCore, int], int] | None = None


def _result(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (result,)


def _page(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (page_to_virt(result),)


def _number(value: Any) -> int:
    return int(getattr(value, "address", value))


def _arg(*indexes: int) -> Key:
    def key(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
        return tuple(_number(arguments[index]) for index in indexes)

    return key


def _stored_number(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (kernel.memory.read_u32(_number(arguments[0])),)


def _major(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return ((arguments[0] or result) << MINOR_BITS | arguments[1],)


def _first_number(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (arguments[0] << MINOR_BITS | arguments[1],)


def _mapping(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (arguments[0] & PAGE_MASK,)


def _mapped(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (result & PAGE_MASK,)


def _reference(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
    return (arguments[0],) if result and arguments[0] else ()


def _inner_driver(struct: str, member: str, at: int) -> Key:
    """The `struct device_driver` in a bus's own structure."""

    def key(kernel: KernelCore, arguments: tuple[Any, ...], result: int) -> tuple[int, ...]:
        return (_number(arguments[at]) + kernel.profile.offset(struct, member),)

    return key


def _all(key: Key, *names: str) -> dict[str, Key]:
    return dict.fromkeys(names, key)


def _thread_runs(kernel: KernelCore, task: int) -> bool:
    thread = kernel.kthreads.find(task)
    return thread is not None and not thread.flags & Ask.ENDED


def _work_busy(kernel: KernelCore, work: int) -> bool:
    try:
        return bool(kernel.workqueues.busy(work))
    except PageFault:
        return False


def _memory(kind: str, undo: str, *names: str, key: Key = _result, error: int = 0) -> Resource:
    return Resource(kind, undo, _all(key, *names), error=error, memory=True)


def _in_sysfs(kernel: KernelCore, kobj: int) -> bool:
    """Whether a kobject is shown: what is there goes with it, unless it is removed before."""
    try:
        return kernel.view("kobject", kobj).bit("state_in_sysfs")
    except PageFault:
        return False


def _registered(
    kind: str, undo: str, *pairs: tuple[str, str, Key, Key], strict: bool = True, alive: Alive | None = None
) -> Resource:
    """What lies in memory of the module's and is made known to the kernel."""
    takes = {take: key for take, _, key, _ in pairs}
    return Resource(
        kind, undo, takes, {give: key for _, give, _, key in pairs}, strict=strict, once=True, alive=alive
    )


def _family(row: Family) -> Resource:
    """A row of what modules register; arrays of them count as one."""
    takes, gives = [row.register], [row.unregister]
    if row.many[0]:
        takes, gives = [row.register, row.many[0]], [row.unregister, row.many[1]]
    key, undo = _arg(row.at), symbol_name(row.unregister)
    return Resource(
        row.kind, f"{undo}()", _all(key, *map(symbol_name, takes)), _all(key, *map(symbol_name, gives)),
        error=-(row.taken or errno.ENOMEM),
        alive=lambda kernel, address: kernel[Registrations].has(row.kind, address),
    )  # fmt: skip


_HEAP = (
    "__kmalloc", "__kmalloc_node", "__kmalloc_noprof", "__kmalloc_cache_noprof", "kmalloc_trace",
    "kmem_cache_alloc_trace", "kmalloc_node_trace", "kmalloc_large", "kmalloc_large_node", "krealloc",
    "kstrdup", "kstrndup", "kmemdup", "kvmalloc_node", "kmemdup_nul", "kstrdup_const", "memdup_user",
    "memdup_user_nul", "vmemdup_user", "kcalloc", "kasprintf", "kvasprintf", "strndup_user",
)  # fmt: skip
_VMALLOC = (
    "vmalloc", "vzalloc", "__vmalloc", "vmalloc_node", "vzalloc_node", "vmalloc_user", "vmalloc_32",
    "vmalloc_32_user", "vmalloc_huge",
)  # fmt: skip
_CACHE_OBJECTS = ("kmem_cache_alloc", "kmem_cache_alloc_node", "kmem_cache_alloc_lru")
_0 = _arg(0)

RESOURCES = (
    _memory("heap object", "kfree()", *_HEAP),
    _memory("object of a cache", "kmem_cache_free()", *_CACHE_OBJECTS),
    _memory("cache", "kmem_cache_destroy()", "kmem_cache_create", "kmem_cache_create_usercopy"),
    _memory("vmalloc area", "vfree()", *_VMALLOC),
    _memory("block of pages", "free_pages()", "__get_free_pages", "get_zeroed_page", "alloc_pages_exact"),
    _memory("block of pages", "__free_pages()", *_ARRAY_OF_PAGES, key=_page),
    Resource(
        "per-CPU variable", "free_percpu()", _all(_result, "__alloc_percpu", "__alloc_percpu_gfp"),
        {"free_percpu": _0}, error=0,
    ),
    Resource(
        "range of device numbers", "unregister_chrdev_region()",
        {"alloc_chrdev_region": _stored_number, "register_chrdev_region": _0},
        {"unregister_chrdev_region": _0}, error=-errno.EBUSY, strict=True, once=True,
    ),
    Resource(
        "character device", "unregister_chrdev()", {"__register_chrdev": _major},
        {"__unregister_chrdev": _first_number}, error=-errno.EBUSY, strict=True, once=True,
    ),
    _registered(
        "cdev", "cdev_del()",
        ("cdev_add", "cdev_del", _0, _0), ("cdev_device_add", "cdev_device_del", _0, _0), strict=False,
    ),
    _registered("misc device", "misc_deregister()", ("misc_register", "misc_deregister", _0, _0)),
    _memory("class", "class_destroy()", "__class_create", "class_create", error=-errno.ENOMEM),
    _registered(
        "class", "class_unregister()",
        ("__class_register", "class_unregister", _0, _0), ("class_register", "class_unregister", _0, _0),
        strict=False,
    ),
    _memory("device", "device_destroy()", "device_create", "device_create_with_groups", error=-errno.ENOMEM),
    _memory(
        "entry in /proc", "proc_remove()", "proc_create", "proc_create_data", "proc_create_seq_private",
        "proc_create_single_data", "proc_mkdir", "proc_mkdir_data", "proc_mkdir_mode", "proc_symlink",
    ),
    _memory(
        "entry in debugfs", "debugfs_remove()", "debugfs_create_dir", "debugfs_create_file",
        "debugfs_create_symlink", error=-errno.ENOMEM,
    ),
    _memory("kobject", "kobject_put()", "kobject_create_and_add"),
    _memory("kset", "kset_unregister()", "kset_create_and_add"),
    _memory("workqueue", "destroy_workqueue()", "alloc_workqueue"),
    Resource(
        "armed timer", "del_timer_sync()", _all(_0, "add_timer", "add_timer_on", "mod_timer", "timer_reduce"),
        error=0, alive=lambda kernel, timer: kernel.timers.pending(timer),
        function=lambda kernel, timer: kernel.view("timer_list", timer).function,
    ),
    Resource(
        "armed hrtimer", "hrtimer_cancel()", {"hrtimer_start_range_ns": _0},
        error=0, alive=lambda kernel, timer: kernel.hrtimers.active(timer),
        function=lambda kernel, timer: kernel.view("hrtimer", timer).function,
    ),
    Resource(
        "piece of queued work", "cancel_work_sync()",
        _all(_arg(2), "queue_work_on", "queue_work_node", "queue_delayed_work_on", "mod_delayed_work_on"),
        error=0, alive=_work_busy, function=lambda kernel, work: kernel.view("work_struct", work).func,
    ),
    Resource(
        "callback of call_rcu()", "rcu_barrier()", _all(_0, "call_rcu", "call_rcu_hurry"),
        error=0, alive=lambda kernel, head: kernel.rcu.pending(head),
        function=lambda kernel, head: kernel.memory.read_u64(head + 8),
    ),
    _registered(
        "device", "device_unregister()",
        ("device_register", "device_unregister", _0, _0), ("device_add", "device_del", _0, _0),
        strict=False, alive=_in_sysfs,
    ),
    _registered(
        "kobject in /sys", "kobject_put()",
        ("kobject_add", "kobject_del", _0, _0), ("kobject_init_and_add", "kobject_del", _0, _0),
        strict=False, alive=_in_sysfs,
    ),
    Resource(
        "file in /sys", "sysfs_remove_file()",
        _all(_arg(0, 1), "sysfs_create_file_ns", "sysfs_create_bin_file"),
        _all(_arg(0, 1), "sysfs_remove_file_ns", "sysfs_remove_bin_file", "sysfs_remove_file_self"),
        alive=_in_sysfs,
    ),
    Resource(
        "group of files in /sys", "sysfs_remove_group()", {"sysfs_create_group": _arg(0, 1)},
        {"sysfs_remove_group": _arg(0, 1)}, alive=_in_sysfs,
    ),
    Resource(
        "groups of files in /sys", "sysfs_remove_groups()", {"sysfs_create_groups": _arg(0, 1)},
        {"sysfs_remove_groups": _arg(0, 1)}, alive=_in_sysfs,
    ),
    _registered(
        "platform device", "platform_device_unregister()",
        ("platform_device_register", "platform_device_unregister", _0, _0), strict=False,
        alive=lambda kernel, pdev: _in_sysfs(kernel, pdev + kernel.profile.offset("platform_device", "dev")),
    ),
    Resource(
        "platform device", "platform_device_unregister()", {"platform_device_register_full": _result},
        {"platform_device_unregister": _0}, memory=True,
    ),
    _registered(
        "input device", "input_unregister_device()",
        ("input_register_device", "input_unregister_device", _0, _0), strict=False,
        alive=lambda kernel, dev: _in_sysfs(kernel, dev + kernel.profile.offset("input_dev", "dev")),
    ),
    Resource(
        "running kernel thread", "kthread_stop()",
        _all(_result, "kthread_create_on_node", "kthread_create_on_cpu"), alive=_thread_runs,
        function=lambda kernel, task: kernel.kthreads.get(task).function,
    ),
    Resource(
        "interrupt handler", "free_irq()", _all(_arg(0, 5), "request_threaded_irq"),
        {"free_irq": _arg(0, 1)}, error=-errno.EBUSY, strict=True, once=True,
    ),
    Resource(
        "region of ports or memory", "release_region()", {"__request_region": _arg(1)},
        {"__release_region": _arg(1)}, error=0,
    ),
    Resource(
        "mapping of device memory", "iounmap()",
        _all(_mapped, "ioremap", "ioremap_wc", "ioremap_uc", "ioremap_cache", "ioremap_prot"),
        {"iounmap": _mapping}, error=0,
    ),
    Resource(
        "notifier", "the unregister function", {
            **{join: _0 for join, _ in CHAIN_CALLS.values()}, "register_module_notifier": _0,
        }, {
            **{leave: _0 for _, leave in CHAIN_CALLS.values()}, "unregister_module_notifier": _0,
        }, strict=True, once=True, function=lambda kernel, block: kernel.memory.read_u64(block),
    ),
    _registered(
        "kprobe", "unregister_kprobe()",
        ("register_kprobe", "unregister_kprobe", _0, _0),
        ("register_kretprobe", "unregister_kretprobe", _0, _0),
        strict=False,
    ),
    _registered(
        "ftrace function", "unregister_ftrace_function()",
        ("register_ftrace_function", "unregister_ftrace_function", _0, _0), strict=False,
    ),
    _registered(
        "driver", "the unregister function",
        ("driver_register", "driver_unregister", _0, _0),
        ("__platform_driver_register", "platform_driver_unregister", _0, _0),
        ("i2c_register_driver", "i2c_del_driver", _arg(1), _0),
        ("__spi_register_driver", "driver_unregister", _inner_driver("spi_driver", "driver", 1), _0),
        *(
            (
                symbol_name(row.register),
                symbol_name(row.unregister) if row.unregister else "driver_unregister",
                _inner_driver(row.struct, row.driver, 0),
                _inner_driver(row.struct, row.driver, 0) if row.unregister else _0,
            )
            for row in BUSES
        ),
        strict=False,
    ),
    _registered("bus", "bus_unregister()", ("bus_register", "bus_unregister", _0, _0)),
    _registered("input handler", "input_unregister_handler()",
        ("input_register_handler", "input_unregister_handler", _0, _0)),
    _registered("family of generic netlink", "genl_unregister_family()",
        ("genl_register_family", "genl_unregister_family", _0, _0)),
    *(_family(row) for row in families().values() if row.unregister),
    Resource(
        "reference on another module", "module_put()", {"try_module_get": _reference, "__module_get": _0},
        {"module_put": _0}, error=0,
    ),
    Resource("open file", "filp_close()", {"filp_open": _result}, _all(_0, "filp_close", "fput")),
)  # fmt: skip

OBJECTS = (0, 1)  # the rows that are memory from the heap
