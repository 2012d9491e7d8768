"""Waiting on several wait queues at once, as poll(2) and select(2) do (fs/select.c).

table = PollTable(kernel, mask)
ready = await kernel.call_guest_int(poll, file, table.address)    # the driver calls poll_wait()
await sleep_in_state(kernel, TASK_INTERRUPTIBLE, timeout_ns)      # woken by any of the queues
table.free()
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.abi import lists
from kmod_emu.kernel.exports import export

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_ENTRY_SIZE, _KEY = 48, 40  # a wait_queue_entry, then the events: guest_kernel_stubs/wait.c, pollwake


class PollTable:
    """A poll_table (function, then events) of the current task, and its entries on wait queues.

    Attributes:
        address: What the driver's poll() gets; 0 where it should not wait.
    """

    def __init__(self, kernel: KernelCore, key: int) -> None:
        self._kernel = kernel
        self._task = kernel.sched.current
        self._entries: list[int] = []
        self._key = key
        self.address = kernel.heap.kmalloc(16)
        kernel.memory.write(self.address, struct.pack("<QI", kernel.symbols.address("__pollwait"), key))
        kernel.poll_tables[self.address] = self

    def wait(self, queue: int) -> None:
        """Put an entry on a wait queue."""
        kernel = self._kernel
        address = kernel.heap.kmalloc(_ENTRY_SIZE)
        entry = kernel.view("wait_queue_entry", address)
        entry.private, entry.func = self._task.address, kernel.symbols.address("pollwake")
        kernel.memory.write_u64(address + _KEY, self._key)
        head = kernel.view("wait_queue_head", queue).addressof("head")
        lists.add(kernel.memory, entry.addressof("entry"), head)
        self._entries.append(address)

    def stop_waiting(self) -> None:
        """Later calls of poll() only ask: the entries are there already."""
        self._kernel.memory.write_u64(self.address, 0)

    def free(self) -> None:
        """Take all entries off their queues (poll_freewait)."""
        kernel = self._kernel
        for address in self._entries:
            lists.delete(kernel.memory, kernel.view("wait_queue_entry", address).addressof("entry"))
            kernel.heap.kfree(address)
        del kernel.poll_tables[self.address]
        kernel.heap.kfree(self.address)


@export("void __pollwait(struct file *filp, wait_queue_head_t *wait_address, poll_table *p)")
def __pollwait(kernel: KernelCore, filp: int, wait_address: int, p: int) -> None:
    """What poll_wait() calls (fs/select.c)."""
    kernel.poll_tables[p].wait(wait_address)
