"""Input devices that have to be asked: polled while somebody has them open (drivers/input/input-poller.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export
from kmod_emu.kernel.timer import init_timer_key
from kmod_emu.kernel.workqueue import queue_delayed_work_on
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

# Our `struct input_dev_poller`, opaque to drivers: function, device, milliseconds, the delayed work.
_POLL, _INPUT, _INTERVAL, _WORK = 0, 8, 16, 24
_DEFAULT_INTERVAL = 500


async def start(kernel: KernelCore, dev: StructView) -> None:
    """The device was opened: ask at once, and then again and again."""
    if kernel.memory.read_u64(dev.poller + _INTERVAL):
        await kernel.call_guest(kernel.memory.read_u64(dev.poller + _POLL), dev.address)
        _queue(kernel, dev.poller)


async def stop(kernel: KernelCore, dev: StructView) -> None:
    """It was closed."""
    await kernel.call_guest(kernel.symbol("cancel_delayed_work_sync"), dev.poller + _WORK)


def _queue(kernel: KernelCore, poller: int) -> None:
    ticks = -(-kernel.memory.read_u64(poller + _INTERVAL) * kernel.profile.hz // 1000)
    queue = kernel.memory.read_u64(kernel.symbol("system_freezable_wq"))
    queue_delayed_work_on(kernel, 0, queue, poller + _WORK, ticks)


@export("void input_dev_poller_work(struct work_struct *work)")
async def input_dev_poller_work(kernel: KernelCore, work: int) -> None:
    """Ask, and come back later."""
    poller = work - _WORK
    await kernel.call_guest(kernel.memory.read_u64(poller + _POLL), kernel.memory.read_u64(poller + _INPUT))
    _queue(kernel, poller)


@export("int input_setup_polling(struct input_dev *dev, void (*poll_fn)(struct input_dev *dev))")
def input_setup_polling(kernel: KernelCore, dev: StructView, poll_fn: int) -> int:
    """Have a function called every half second while the device is open."""
    layout = kernel.profile.struct("delayed_work")
    poller = kernel.heap.kmalloc(_WORK + layout.size)
    if not poller:
        return -errno.ENOMEM
    kernel.memory.write_u64(poller + _POLL, poll_fn)
    kernel.memory.write_u64(poller + _INPUT, dev.address)
    kernel.memory.write_u64(poller + _INTERVAL, _DEFAULT_INTERVAL)
    work = kernel.view("work_struct", poller + _WORK)
    lists.init(kernel.memory, work.addressof("entry"))
    work.func = kernel.symbol("input_dev_poller_work")
    timer = poller + _WORK + layout.offset("timer")
    init_timer_key(kernel, timer, kernel.symbol("delayed_work_timer_fn"), 0, 0, 0)
    dev.poller = poller
    return 0


@export("void input_set_poll_interval(struct input_dev *dev, unsigned int interval)")
def input_set_poll_interval(kernel: KernelCore, dev: StructView, interval: int) -> None:
    """Milliseconds between two calls."""
    if dev.poller:
        kernel.memory.write_u64(dev.poller + _INTERVAL, interval)


@export("int input_get_poll_interval(struct input_dev *dev)")
def input_get_poll_interval(kernel: KernelCore, dev: StructView) -> int:
    """How many they are."""
    return kernel.memory.read_u64(dev.poller + _INTERVAL) if dev.poller else -errno.EINVAL
