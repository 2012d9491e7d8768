"""The terminal of a program on the real kernel: a pseudo-terminal of its own, with Python at the master end.

Lines, echo, job control and the signals of keys are the kernel's. The host's terminal only carries bytes.
While somebody in the machine waits for keys, and nothing else runs, time passes there as it does outside.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any

from kmod_emu.errors import KernelError
from kmod_emu.kernel.clock import NSEC_PER_SEC
from kmod_emu.uapi.fcntl import O_NOCTTY, O_NONBLOCK, O_RDWR

if TYPE_CHECKING:
    from kmod_emu.kernel.tasks import Task
    from kmod_emu.user.stdio import HostEnd
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_TIOCSWINSZ, _TIOCGPTN, _TIOCSPTLCK = 0x5414, 0x8004_5430, 0x4004_5431
_CHUNK = 4096
_OFTEN, _SELDOM = 0.01, 0.2  # seconds between looks at the host while something runs, and while nothing does
_WAIT_LIST = 8  # offset of the list in wait_queue_head_t


class Terminal:
    """A pseudo-terminal for as long as a program runs.

    Args:
        kernel: The machine.
        ends: Of the program's descriptors; one of them is a terminal of the host's.
        uid: Whose it is.

    Attributes:
        path: Of the slave.
    """

    def __init__(self, kernel: VmlinuxKernel, ends: list[HostEnd], uid: int) -> None:
        self._kernel = kernel
        found = [end.fd for end in ends if end.terminal and end.fd is not None]
        self._input, self._output = found[0], found[-1]
        self._process = kernel.process(comm="terminal")
        self._fd = self._process.open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)
        number = bytearray(4)
        self._process.ioctl(self._fd, _TIOCSPTLCK, bytes(4))
        self._process.ioctl(self._fd, _TIOCGPTN, number)
        self.path = f"/dev/pts/{int.from_bytes(number, 'little')}"
        self._process.chown(self.path, uid, 0)
        self._size = b""
        self._next = 0.0
        self._open = kernel.user_mode.attended = True
        self._saved = _make_raw(self._input)
        self._resize()

    def look(self, task: Task, *, idle: bool) -> None:
        """Carry what there is; if nothing runs and somebody waits for keys, wait for them, too.

        Args:
            task: Leader of the session.
            idle: Whether nothing in the machine can go on now.
        """
        waits = idle and (self._is_read(task) or self._kernel.sched.agenda.next_ns is None)
        if waits or time.monotonic() >= self._next:
            self._carry_out()
            if self._open:
                self._carry_in(wait=waits)
            self._next = time.monotonic() + _OFTEN

    def close(self) -> None:
        """The last of the output; then the line is cut."""
        self._carry_out()
        self._process.exit()
        self._kernel.user_mode.attended = False
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._input, termios.TCSADRAIN, self._saved)

    def _carry_out(self) -> None:
        """What the machine wrote."""
        while True:
            try:
                data = self._process.read(self._fd, _CHUNK)
            except KernelError:  # EAGAIN; EIO, nobody has the other end open
                return
            while data:
                data = data[os.write(self._output, data) :]

    def _carry_in(self, *, wait: bool) -> None:
        """Keys; until there are some, or something else happens in the machine."""
        clock, agenda = self._kernel.clock, self._kernel.sched.agenda
        began, start_ns = time.monotonic(), clock.now_ns
        due = agenda.next_ns
        left = float("inf") if due is None else (due - start_ns) / NSEC_PER_SEC
        while True:
            self._resize()
            passed = time.monotonic() - began
            timeout = max(min(_SELDOM, left - passed), 0) if wait else 0
            if select.select([self._input], [], [], timeout)[0]:
                break
            if not wait or time.monotonic() - began >= left:
                return
        if wait:
            passed_ns = int((time.monotonic() - began) * NSEC_PER_SEC)
            clock.jump(start_ns + passed_ns if due is None else min(start_ns + passed_ns, due))
        try:
            keys = os.read(self._input, _CHUNK)
        except OSError:
            keys = b""
        if keys:
            self._process.write(self._fd, keys)
        else:  # the host's terminal is gone: the session hears of it
            self._open = False
            self._process.close(self._fd)

    def _is_read(self, task: Task) -> bool:
        """Whether somebody waits for keys."""
        view = self._kernel.view
        tty = view("signal_struct", view("task_struct", task.address).signal).get("tty")
        if not tty:
            return False
        head = view("tty_struct", tty).addressof("read_wait") + _WAIT_LIST
        return self._kernel.memory.read_u64(head) != head

    def _resize(self) -> None:
        """The window is as large as outside."""
        import fcntl
        import termios

        size = fcntl.ioctl(self._input, termios.TIOCGWINSZ, bytes(8))
        if size != self._size:
            self._size = size
            self._process.ioctl(self._fd, _TIOCSWINSZ, size)


def _make_raw(fd: int) -> Any:
    """Let keys through one by one; the settings until now."""
    import termios
    import tty

    saved = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)
    return saved
