"""Futexes: sleeping on a word of user memory (kernel/futex/)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.schedule import TASK_INTERRUPTIBLE, sleep_in_state, try_to_wake_up
from kmod_emu.kernel.signal import signal_pending
from kmod_emu.kernel.syscalls import syscall
from kmod_emu.uapi import errno
from kmod_emu.user import arguments

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.mm import MemoryMap
    from kmod_emu.kernel.tasks import Task

_WAIT, _WAKE, _REQUEUE, _CMP_REQUEUE, _WAIT_BITSET, _WAKE_BITSET = 0, 1, 3, 4, 9, 10
_CMD_MASK = 0x7F
_INT_MAX = (1 << 31) - 1


class Futexes:
    """Who sleeps on which word: by physical address, as programs may share pages."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._waiting: dict[int, list[Task]] = {}

    def _key(self, mm: MemoryMap, address: int) -> int:
        if address & 3:
            raise KernelError(errno.EINVAL, "a futex is aligned to 4 bytes")
        mm.read(address, 4)
        return mm.space.pages[address >> 12][0] | (address & 0xFFF)

    def wake(self, mm: MemoryMap, address: int, count: int) -> int:
        """Wake at most `count` sleepers; how many."""
        sleepers = self._waiting.get(self._key(mm, address), [])
        chosen, sleepers[:] = sleepers[:count], sleepers[count:]
        for task in chosen:
            try_to_wake_up(self._kernel, task.address, TASK_INTERRUPTIBLE)
        return len(chosen)

    async def wait(self, mm: MemoryMap, address: int, value: int, timeout_ns: int | None) -> int:
        """Sleep while the word is `value`."""
        kernel, task = self._kernel, self._kernel.sched.current
        key = self._key(mm, address)
        if int.from_bytes(mm.read(address, 4), "little") != value & 0xFFFF_FFFF:
            raise KernelError(errno.EAGAIN, "the word has another value")
        sleepers = self._waiting.setdefault(key, [])
        sleepers.append(task)
        in_time = await sleep_in_state(kernel, TASK_INTERRUPTIBLE, timeout_ns)
        if task not in sleepers:
            return 0
        sleepers.remove(task)
        if not in_time:
            raise KernelError(errno.ETIMEDOUT)
        if signal_pending(kernel, task):
            raise KernelError(errno.ERESTARTSYS)
        return 0


@syscall(202)
async def sys_futex(
    kernel: KernelCore, uaddr: int, op: int, val: int, utime: int, uaddr2: int, val3: int
) -> int:
    """Wait and wake; the kinds that mutexes with priority need are not there."""
    mm, command = kernel.sched.current.mm, op & _CMD_MASK
    assert mm is not None
    futexes = kernel[Futexes]
    if not kernel.user.read(uaddr, 4):
        raise KernelError(errno.EFAULT)
    if command in (_WAIT, _WAIT_BITSET):
        limit = arguments.timespec(kernel, utime)
        if limit is not None and command == _WAIT_BITSET:
            limit = max(limit - kernel.clock.now_ns, 0)
        return await futexes.wait(mm, uaddr, val, limit)
    if command in (_WAKE, _WAKE_BITSET):
        return futexes.wake(mm, uaddr, min(val & 0xFFFF_FFFF, _INT_MAX))
    if command in (_REQUEUE, _CMP_REQUEUE):  # those to be moved are woken: they look at the word again
        return futexes.wake(mm, uaddr, _INT_MAX)
    raise KernelError(errno.ENOSYS, f"futex operation {command} is not implemented")
