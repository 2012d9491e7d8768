"""epoll(7): a list of files that is kept between waits (fs/eventpoll.c).

What is ready is asked from the files at each wait, as poll(2) does. EPOLLET therefore reports an event again
only when it was seen to be over in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.anon_inodes import anonymous_file
from kmod_emu.fs.file import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDNORM, File, FileOperations
from kmod_emu.fs.select import ERESTARTNOHAND, poll_files
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_RDWR

if TYPE_CHECKING:
    from kmod_emu.fs.select import Poll
    from kmod_emu.kernel.kernel import KernelCore

CTL_ADD, CTL_DEL, CTL_MOD = 1, 2, 3
_ONESHOT, _EDGE, _PRIVATE = 1 << 30, 1 << 31, 0xF000_0000
_ALWAYS = EPOLLERR | EPOLLHUP


class _Item:
    """A file that is waited for: the events asked, the user's data, what was reported last."""

    def __init__(self, events: int, data: int) -> None:
        self.events, self.data, self.reported = events, data, 0


class EventPoll(FileOperations):
    """What a descriptor of epoll_create(2) can do; `items` are its files, by descriptor and file."""

    def __init__(self, kernel: KernelCore) -> None:
        super().__init__(kernel)
        self.items: dict[tuple[int, File], _Item] = {}

    def control(self, operation: int, fd: int, file: File, events: int, data: int) -> None:
        """epoll_ctl(2): EEXIST, ENOENT, EPERM, EINVAL."""
        if not file.op.can(file, "poll"):
            raise KernelError(errno.EPERM, "the file has no poll method")
        if file.op is self or operation not in (CTL_ADD, CTL_DEL, CTL_MOD):
            raise KernelError(errno.EINVAL)
        key = fd, file
        if operation == CTL_ADD and key in self.items:
            raise KernelError(errno.EEXIST, f"descriptor {fd} is watched already")
        if operation != CTL_ADD and key not in self.items:
            raise KernelError(errno.ENOENT, f"descriptor {fd} is not watched")
        if operation == CTL_DEL:
            del self.items[key]
        else:
            self.items[key] = _Item(events | _ALWAYS, data)

    def _live(self) -> list[tuple[File, _Item]]:
        """Files that are still open and asked for; those that were closed are forgotten."""
        known = self.kernel[Vfs].open_files
        self.items = {key: item for key, item in self.items.items() if key[1] in known}
        return [(file, item) for (_, file), item in self.items.items() if item.events & ~_PRIVATE]

    async def wait(self, most: int, timeout_ns: int | None) -> list[tuple[int, int]]:
        """epoll_wait(2): events and data of at most `most` files; EINTR."""
        live = self._live()
        edges = [(file, item) for file, item in live if item.events & _EDGE]
        now = await poll_files(self.kernel, [(file, item.events & ~_PRIVATE) for file, item in edges], 0)
        for (_, item), mask in zip(edges, now, strict=True):
            item.reported &= mask
        wanted = [(file, _news(item)) for file, item in live]
        try:
            ready = await poll_files(self.kernel, wanted, timeout_ns)
        except KernelError as error:
            raise KernelError(errno.EINTR if error.errno == ERESTARTNOHAND else error.errno) from None
        found: list[tuple[int, int]] = []
        for (_, item), mask in zip(live, ready, strict=True):
            if mask and len(found) < most:
                found.append((mask, item.data))
                item.reported |= mask
                if item.events & _ONESHOT:
                    item.events &= _PRIVATE
        return found

    async def poll(self, file: File, table: Poll, events: int) -> int:
        """Readable when one of its files is ready."""
        ready = False
        for watched, item in self._live():
            ready |= bool(await watched.op.poll(watched, table, item.events) & item.events & ~_PRIVATE)
        return EPOLLIN | EPOLLRDNORM if ready else 0


def _news(item: _Item) -> int:
    wanted = item.events & ~_PRIVATE
    return wanted & ~item.reported if item.events & _EDGE else wanted


async def create(kernel: KernelCore, *, cloexec: bool) -> int:
    """A descriptor."""
    return await anonymous_file(kernel, "[eventpoll]", EventPoll(kernel), O_RDWR, cloexec=cloexec)
