"""What programs on the real kernel find at descriptors 0 to 2: character devices that Python serves.

They have numbers that no driver can ask for, and no names once the program has them open.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, Handler
from kmod_emu.uapi import errno
from kmod_emu.user.entry import let_others_run
from kmod_emu.user.programs import Programs
from kmod_emu.user.stdio import TERMIOS_SIZE, TIOCGPGRP, TIOCSPGRP, HostEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.vmlinux.kernel import VmlinuxKernel

MAJOR, COUNT = 4094, 3  # majors of drivers end at 511
NODE, CONSOLE = "/dev/.host", "/dev/console"  # where they are while a program opens them; what init has open
_MINORS = 20
_CHUNK = 1 << 15
_SIGPIPE = 13
_READY = 0x0145  # EPOLLIN, EPOLLRDNORM, EPOLLOUT, EPOLLWRNORM


class HostStreams:
    """The three devices.

    Attributes:
        ends: What is outside of each.
    """

    def __init__(self, kernel: VmlinuxKernel) -> None:
        self._kernel = kernel
        self.ends: list[HostEnd] = []
        self._methods = {
            member: kernel.traps.bind(Handler(f"host_{member}", prototype, function, Fidelity.EXACT))
            for member, (prototype, function) in _METHODS.items()
        }

    def register(self) -> None:
        """Make the devices known to the kernel, at boot."""
        kernel = self._kernel
        size = kernel.profile.struct("file_operations").size
        operations = kernel.view("file_operations", kernel.heap.kmalloc(size))
        kernel.memory.clear(operations.address, size)
        for member, address in self._methods.items():
            operations.set(member, address)
        cdev = kernel.call(kernel.symbol("cdev_alloc"))
        kernel.view("cdev", cdev).ops = operations.address
        kernel.call(kernel.symbol("cdev_add"), cdev, MAJOR << _MINORS, COUNT)

    def end(self, file: int) -> HostEnd:
        """What is outside of an open file."""
        view = self._kernel.view
        minor = view("inode", view("file", file).f_inode).i_rdev & (1 << _MINORS) - 1
        if minor >= len(self.ends):
            raise KernelError(errno.ENODEV, "the program that had it has ended")
        return self.ends[minor]


async def _out(kernel: VmlinuxKernel, address: int, data: bytes) -> int:
    """Copy to the caller; how much that was."""
    place = kernel.heap.kmalloc(max(len(data), 1))
    kernel.memory.write(place, data)
    left = await kernel.call_guest(kernel.symbol("_copy_to_user"), address, place, len(data))
    kernel.heap.kfree(place)
    if data and left == len(data):
        raise KernelError(errno.EFAULT)
    return len(data) - left


async def _in(kernel: VmlinuxKernel, address: int, size: int) -> bytes:
    """Copy from the caller, as much as there is."""
    place = kernel.heap.kmalloc(max(size, 1))
    left = await kernel.call_guest(kernel.symbol("_copy_from_user"), place, address, size)
    data = kernel.memory.read(place, size - left)
    kernel.heap.kfree(place)
    if size and not data:
        raise KernelError(errno.EFAULT)
    return data


async def _read(kernel: VmlinuxKernel, file: int, buf: int, count: int, pos: int) -> int:
    """What comes from outside; other tasks run first, then the whole machine waits."""
    end = kernel.streams.end(file)
    for _ in range(1000):
        if end.fd is None or not kernel.sched.contended:
            break
        await let_others_run(kernel)
    return await _out(kernel, buf, end.take(min(count, _CHUNK)))


async def _write(kernel: VmlinuxKernel, file: int, buf: int, count: int, pos: int) -> int:
    """To the outside."""
    end, done = kernel.streams.end(file), 0
    while done < count:
        data = await _in(kernel, buf + done, min(count - done, _CHUNK))
        try:
            done += end.put(data)
        except KernelError as error:
            if error.errno == errno.EPIPE:
                task = kernel.sched.current.address
                await kernel.call_guest(kernel.symbol("send_sig"), _SIGPIPE, task, 0)
            raise
    return done


def _poll(kernel: VmlinuxKernel, file: int, table: int) -> int:
    """Always ready: who reads waits."""
    return _READY


async def _ioctl(kernel: VmlinuxKernel, file: int, cmd: int, arg: int) -> int:
    """A terminal's settings are the host's own."""
    end, programs = kernel.streams.end(file), kernel[Programs]
    if not end.terminal:
        raise KernelError(errno.ENOTTY, "no terminal")
    if cmd == TIOCGPGRP:
        await _out(kernel, arg, struct.pack("<i", programs.foreground))
    elif cmd == TIOCSPGRP:
        (programs.foreground,) = struct.unpack("<i", (await _in(kernel, arg, 4)).ljust(4, b"\0"))
    else:
        given = await _in(kernel, arg, TERMIOS_SIZE)
        await _out(kernel, arg, end.control(cmd, given.ljust(TERMIOS_SIZE, b"\0")))
    return 0


_METHODS: dict[str, tuple[str, Callable[..., Any]]] = {
    "read": ("ssize_t host_read(void *file, char *buf, size_t count, void *pos)", _read),
    "write": ("ssize_t host_write(void *file, const char *buf, size_t count, void *pos)", _write),
    "poll": ("unsigned int host_poll(void *file, void *table)", _poll),
    "unlocked_ioctl": ("long host_ioctl(void *file, unsigned int cmd, unsigned long arg)", _ioctl),
}
